//! Puts a connection's secrets into a request, each at its place and on its origin only.
//!
//! The one place where a secret's value enters a request; never logs one, never returns one.

use aho_corasick::AhoCorasick;
use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::connector::Access;
use crate::domain::{Limits, SecretPlace};
use crate::secret::Secret;

use super::HttpError;
use super::outbound::{Outbound, check_body};

/// Refuses a request that carries a placeholder where it would not be replaced.
pub(crate) fn check_placeholders(outbound: &Outbound, access: &Access) -> Result<(), HttpError> {
    for (name, text) in access.vault.placeholders() {
        if outbound.url.as_str().contains(text) {
            return Err(HttpError::Denied(format!(
                "the placeholder of `{name}` stands in the address; it is replaced in header values \
                 and bodies only"
            )));
        }
        let granted = access.connection.grants.secrets.get(name).map(|grant| &grant.origin);
        if granted != Some(&outbound.origin) && carries(outbound, text) {
            return Err(HttpError::Denied(format!(
                "the placeholder of `{name}` may not go to {}",
                outbound.origin
            )));
        }
    }
    Ok(())
}

/// The request with every secret that its origin is granted. `fetched` are OAuth tokens.
///
/// # Errors
/// A secret that cannot stand in a header, or a body past its limit once placeholders are replaced.
pub(crate) fn place(
    mut outbound: Outbound,
    access: &Access,
    fetched: Option<&Secret>,
    limits: &Limits,
) -> Result<Outbound, HttpError> {
    replace_placeholders(&mut outbound, access, limits)?;
    for (name, grant) in &access.connection.grants.secrets {
        let Some(secret) = access.vault.secret(name) else { continue };
        if grant.origin != outbound.origin {
            continue;
        }
        let secret = secret.reveal();
        let headers = &mut outbound.headers;
        match &grant.place {
            SecretPlace::Bearer => {
                set(headers, name, AUTHORIZATION, &format!("Bearer {secret}"))?;
            }
            SecretPlace::Header { name: header, prefix } => {
                let header = HeaderName::from_bytes(header.as_bytes()).map_err(|_| {
                    HttpError::Invalid(format!("`{header}`, the place of `{name}`, is no header"))
                })?;
                set(headers, name, header, &format!("{prefix}{secret}"))?;
            }
            SecretPlace::Basic { user } => {
                set(headers, name, AUTHORIZATION, &basic(user.as_deref(), secret))?;
            }
            SecretPlace::Query { name } => set_query(&mut outbound.url, name, secret),
            SecretPlace::Placeholder => {}
            SecretPlace::ClientCredentials { .. } => {
                let Some(token) = fetched else { continue };
                set(headers, name, AUTHORIZATION, &format!("Bearer {}", token.reveal()))?;
            }
        }
    }
    Ok(outbound)
}

/// `Basic …`; the secret is the user where none is named.
pub(super) fn basic(user: Option<&str>, secret: &str) -> String {
    format!("Basic {}", BASE64.encode(pair(user, secret).as_bytes()))
}

/// What `basic` encodes.
pub(super) fn pair(user: Option<&str>, secret: &str) -> String {
    user.map_or_else(|| format!("{secret}:"), |user| format!("{user}:{secret}"))
}

fn set(
    headers: &mut HeaderMap,
    secret: &str,
    header: HeaderName,
    value: &str,
) -> Result<(), HttpError> {
    let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unfit(secret))?;
    value.set_sensitive(true);
    headers.insert(header, value);
    Ok(())
}

fn unfit(secret: &str) -> HttpError {
    HttpError::Invalid(format!(
        "the secret `{secret}` holds a control character and cannot stand in a header; set it again"
    ))
}

/// Sets one query parameter; a guest's of the same name gives way.
fn set_query(url: &mut Url, name: &str, secret: &str) {
    if url.query_pairs().any(|(key, _)| key == name) {
        let others: Vec<(String, String)> =
            url.query_pairs().filter(|(key, _)| key != name).map(own).collect();
        url.query_pairs_mut().clear().extend_pairs(others);
    }
    url.query_pairs_mut().append_pair(name, secret);
}

fn own((key, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)) -> (String, String) {
    (key.into_owned(), value.into_owned())
}

fn carries(outbound: &Outbound, text: &str) -> bool {
    let Ok(search) = AhoCorasick::new([text]) else { return true };
    outbound.headers.values().any(|value| search.is_match(value.as_bytes()))
        || search.is_match(outbound.body.as_ref())
}

/// Replaces the placeholders whose secrets this origin is granted. In a JSON or form body the secret
/// is escaped as that format asks, so that a quote in a password breaks nothing.
fn replace_placeholders(
    outbound: &mut Outbound,
    access: &Access,
    limits: &Limits,
) -> Result<(), HttpError> {
    let grants = &access.connection.grants.secrets;
    let granted: Vec<(&str, &str, &str)> = access
        .vault
        .placeholders()
        .filter(|(name, _)| grants.get(*name).is_some_and(|g| g.origin == outbound.origin))
        .filter_map(|(name, text)| Some((name, text, access.vault.secret(name)?.reveal())))
        .collect();
    for (name, text, secret) in &granted {
        for value in outbound.headers.values_mut() {
            let Ok(given) = std::str::from_utf8(value.as_bytes()) else { continue };
            if !given.contains(text) {
                continue;
            }
            let replaced = given.replace(text, secret);
            *value = HeaderValue::from_bytes(replaced.as_bytes()).map_err(|_| unfit(name))?;
            value.set_sensitive(true);
        }
    }
    if granted.is_empty() || outbound.body.is_empty() {
        return Ok(());
    }
    let kind = outbound.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let secrets: Vec<String> = granted.iter().map(|(.., secret)| escaped(secret, kind)).collect();
    outbound.body =
        replaced(&outbound.body, granted.iter().map(|(_, text, _)| *text), &secrets, limits)?;
    Ok(())
}

/// A body with texts replaced. Its new size is known before a byte is copied: many placeholders and a
/// long secret would make a small body huge.
fn replaced<'a>(
    body: &Bytes,
    texts: impl Iterator<Item = &'a str>,
    secrets: &[String],
    limits: &Limits,
) -> Result<Bytes, HttpError> {
    let Ok(search) = AhoCorasick::new(texts) else { return Ok(body.clone()) };
    let (mut gone, mut come) = (0_usize, 0_usize);
    for found in search.find_iter(body.as_ref()) {
        gone += found.len();
        let secret = secrets.get(found.pattern().as_usize());
        come = come.saturating_add(secret.map_or(0, String::len));
    }
    if gone == 0 {
        return Ok(body.clone());
    }
    let size = (body.len() - gone).saturating_add(come);
    check_body(size, limits)?;
    let mut whole = Vec::with_capacity(size);
    search.replace_all_with_bytes(body, &mut whole, |found, _, whole| {
        let secret = secrets.get(found.pattern().as_usize()).map_or("", String::as_str);
        whole.extend_from_slice(secret.as_bytes());
        true
    });
    Ok(Bytes::from(whole))
}

fn escaped(secret: &str, content_type: &str) -> String {
    if content_type.contains("json") {
        let quoted = serde_json::Value::from(secret).to_string();
        quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')).unwrap_or_default().to_owned()
    } else if content_type.starts_with("application/x-www-form-urlencoded") {
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string()
    } else {
        secret.to_owned()
    }
}
