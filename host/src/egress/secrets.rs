//! Inserts a connection's secrets into a request, each at its place and on its origin only.
//!
//! Only here and in `token.rs` does a secret's value enter a request. Never logs a secret.

use aho_corasick::AhoCorasick;
use bytes::Bytes;
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::domain::{Limits, SecretPlace};
use crate::secret::Secret;

use super::authorize::{Outbound, body_too_large};
use super::{ActiveConnection, HttpError};

/// The request with every secret that its origin is granted. `token` is a fetched OAuth token.
///
/// # Errors
/// A secret that cannot be in a header, or a body that exceeds its limit once placeholders are
/// replaced.
pub(crate) fn with_secrets(
    mut outbound: Outbound,
    active: &ActiveConnection,
    token: Option<&Secret>,
    limits: &Limits,
) -> Result<Outbound, HttpError> {
    replace_placeholders(&mut outbound, active, limits)?;
    for (name, grant) in &active.connection.grants.secrets {
        let Some(secret) = active.credentials.secrets.get(name) else { continue };
        if grant.origin != outbound.origin {
            continue;
        }
        let secret = secret.reveal();
        let headers = &mut outbound.headers;
        match &grant.place {
            SecretPlace::Bearer => {
                set_header(headers, name, AUTHORIZATION, &format!("Bearer {secret}"))?;
            }
            SecretPlace::Header { name: header, prefix } => {
                let header = HeaderName::from_bytes(header.as_bytes()).map_err(|_| {
                    HttpError::Invalid(format!(
                        "`{header}`, the header for the secret `{name}`, is not a valid header name"
                    ))
                })?;
                set_header(headers, name, header, &format!("{prefix}{secret}"))?;
            }
            SecretPlace::Basic { user } => {
                set_header(headers, name, AUTHORIZATION, &basic(user.as_deref(), secret))?;
            }
            SecretPlace::Query { name } => set_query(&mut outbound.url, name, secret),
            SecretPlace::Placeholder => {}
            SecretPlace::ClientCredentials { .. } => {
                let Some(token) = token else { continue };
                set_header(headers, name, AUTHORIZATION, &format!("Bearer {}", token.reveal()))?;
            }
        }
    }
    Ok(outbound)
}

/// `Basic …`; without a user the secret is the user name.
pub(super) fn basic(user: Option<&str>, secret: &str) -> String {
    format!("Basic {}", BASE64.encode(basic_pair(user, secret).as_bytes()))
}

/// What `basic` encodes.
pub(super) fn basic_pair(user: Option<&str>, secret: &str) -> String {
    user.map_or_else(|| format!("{secret}:"), |user| format!("{user}:{secret}"))
}

fn set_header(
    headers: &mut HeaderMap,
    secret: &str,
    header: HeaderName,
    value: &str,
) -> Result<(), HttpError> {
    let mut value =
        HeaderValue::from_bytes(value.as_bytes()).map_err(|_| not_a_header_value(secret))?;
    value.set_sensitive(true);
    headers.insert(header, value);
    Ok(())
}

fn not_a_header_value(secret: &str) -> HttpError {
    HttpError::Invalid(format!(
        "the secret `{secret}` contains a control character and cannot be sent in a header; set it \
         again without it"
    ))
}

/// Sets one query parameter; replaces the guest's of the same name.
fn set_query(url: &mut Url, name: &str, secret: &str) {
    if url.query_pairs().any(|(key, _)| key == name) {
        let others: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(key, _)| key != name)
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        url.query_pairs_mut().clear().extend_pairs(others);
    }
    url.query_pairs_mut().append_pair(name, secret);
}

/// A placeholder that may be replaced in this request.
struct Replacement<'a> {
    name: &'a str,
    placeholder: &'a str,
    secret: &'a str,
}

/// Replaces the placeholders whose secrets this origin is granted. In a JSON or form body the
/// secret is escaped as that format needs, so that a quote in a password breaks nothing.
fn replace_placeholders(
    outbound: &mut Outbound,
    active: &ActiveConnection,
    limits: &Limits,
) -> Result<(), HttpError> {
    let mut replacements = Vec::new();
    for (name, placeholder) in &active.credentials.placeholders {
        let grant = active.connection.grants.secrets.get(name);
        let secret = active.credentials.secrets.get(name);
        if let (Some(grant), Some(secret)) = (grant, secret)
            && grant.origin == outbound.origin
        {
            replacements.push(Replacement { name, placeholder, secret: secret.reveal() });
        }
    }
    for Replacement { name, placeholder, secret } in &replacements {
        for value in outbound.headers.values_mut() {
            let Ok(text) = std::str::from_utf8(value.as_bytes()) else { continue };
            if !text.contains(placeholder) {
                continue;
            }
            let replaced = text.replace(placeholder, secret);
            *value = HeaderValue::from_bytes(replaced.as_bytes())
                .map_err(|_| not_a_header_value(name))?;
            value.set_sensitive(true);
        }
    }
    if !replacements.is_empty() && !outbound.body.is_empty() {
        let content_type = outbound.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default();
        outbound.body = replaced_body(&outbound.body, &replacements, content_type, limits)?;
    }
    Ok(())
}

/// A body with its placeholders replaced. The new size is computed before a byte is copied: many
/// placeholders and a long secret would make a small body huge.
fn replaced_body(
    body: &Bytes,
    replacements: &[Replacement<'_>],
    content_type: &str,
    limits: &Limits,
) -> Result<Bytes, HttpError> {
    let Ok(search) = AhoCorasick::new(replacements.iter().map(|it| it.placeholder)) else {
        return Ok(body.clone());
    };
    let secrets: Vec<String> =
        replacements.iter().map(|it| escaped(it.secret, content_type)).collect();
    let (mut removed, mut added) = (0_usize, 0_usize);
    for found in search.find_iter(body.as_ref()) {
        removed += found.len();
        let secret = secrets.get(found.pattern().as_usize());
        added = added.saturating_add(secret.map_or(0, String::len));
    }
    if removed == 0 {
        return Ok(body.clone());
    }
    let size = (body.len() - removed).saturating_add(added);
    if size as u64 > limits.request_body_bytes {
        return Err(body_too_large(limits));
    }
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
