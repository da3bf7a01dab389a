//! Inserts a connection's secrets into a request. A secret is inserted only at its granted place,
//! and only if the request goes to its granted origin.
//!
//! In a body, a secret replaces a placeholder, but only if the placeholder is at the granted place,
//! as a whole string of JSON or the whole value of a form field, and if the body contains it only
//! once. So a connector cannot make the host put the secret into a description or another place
//! that the tracker displays. Never logs a secret.

use std::ops::Range;

use aho_corasick::AhoCorasick;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::Url;

use crate::domain::{Limits, SecretPlace};
use crate::secret::Secret;
use crate::transport::basic_authorization;

use super::authorize::{CheckedRequest, body_too_large, occurs_in};
use super::{ActiveConnection, HttpError};

/// Maximum size of a body with a placeholder, bytes. The limit is small because the host parses the
/// body several times.
const PLACEHOLDER_BODY_BYTES_MAX: usize = 64 * 1024;

/// Inserts the secrets that are granted to the request's origin. `token` is the OAuth token that
/// was fetched for this origin, if there is one.
pub(crate) fn insert_secrets(
    mut outbound: CheckedRequest,
    active: &ActiveConnection,
    token: Option<&Secret>,
    limits: &Limits,
) -> Result<CheckedRequest, HttpError> {
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
                set_header(
                    headers,
                    name,
                    AUTHORIZATION,
                    &basic_authorization(user.as_deref(), secret),
                )?;
            }
            SecretPlace::Query { name } => set_query(&mut outbound.url, name, secret),
            SecretPlace::Json { .. } | SecretPlace::Form { .. } => {}
            SecretPlace::ClientCredentials { .. } => {
                let Some(token) = token else { continue };
                set_header(headers, name, AUTHORIZATION, &format!("Bearer {}", token.reveal()))?;
            }
        }
    }
    Ok(outbound)
}

fn set_header(
    headers: &mut HeaderMap,
    secret: &str,
    header: HeaderName,
    value: &str,
) -> Result<(), HttpError> {
    let mut value =
        HeaderValue::from_bytes(value.as_bytes()).map_err(|_| header_value_error(secret))?;
    value.set_sensitive(true);
    headers.insert(header, value);
    Ok(())
}

fn header_value_error(secret: &str) -> HttpError {
    HttpError::Invalid(format!(
        "the secret `{secret}` contains a control character and cannot be sent in a header; set the \
         secret again without this character"
    ))
}

/// Removes all parameters of the same name that the guest set.
fn set_query(url: &mut Url, name: &str, secret: &str) {
    if url.query_pairs().any(|(key, _)| key == name) {
        let others: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(key, _)| key != name)
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        url.query_pairs_mut().clear().extend_pairs(others);
    }
    url.query_pairs_mut().append_pair(name, secret);
}

fn replace_placeholders(
    outbound: &mut CheckedRequest,
    active: &ActiveConnection,
    limits: &Limits,
) -> Result<(), HttpError> {
    for (name, placeholder) in &active.credentials.placeholders {
        let grant = active.connection.grants.secrets.get(name);
        let secret = active.credentials.secrets.get(name);
        if let (Some(grant), Some(secret)) = (grant, secret)
            && grant.origin == outbound.origin
            && let Some(range) = find_placeholder(outbound, &grant.place, placeholder)
        {
            outbound.body = body_with_secret(&outbound.body, range, &grant.place, secret.reveal());
            if outbound.body.len() as u64 > limits.request_body_bytes {
                return Err(body_too_large(limits));
            }
        }
    }
    Ok(())
}

/// Refuses a request with a placeholder that the host would not replace: the placeholder is not
/// exactly at its granted place, or its secret is not granted to the origin of the request.
pub(crate) fn check_placeholders(
    outbound: &CheckedRequest,
    active: &ActiveConnection,
) -> Result<(), HttpError> {
    for (name, placeholder) in &active.credentials.placeholders {
        if !outbound.contains(placeholder) {
            continue;
        }
        let Some(grant) = active.connection.grants.secrets.get(name) else { continue };
        if grant.origin != outbound.origin {
            return Err(HttpError::Denied(format!(
                "the secret `{name}` is not granted to {}; its placeholder was not sent",
                outbound.origin
            )));
        }
        let in_head = outbound.url.as_str().contains(placeholder)
            || outbound.headers.values().any(|value| occurs_in(placeholder, value.as_bytes()));
        if in_head || find_placeholder(outbound, &grant.place, placeholder).is_none() {
            return Err(HttpError::Denied(format!(
                "the placeholder of the secret `{name}` may be only {}, once and as the whole text; \
                 the request was not sent",
                describe_place(&grant.place)
            )));
        }
    }
    Ok(())
}

fn describe_place(place: &SecretPlace) -> String {
    let (position, content_type) = match place {
        SecretPlace::Json { pointer } => (format!("at {pointer:?}"), "application/json"),
        SecretPlace::Form { name } => {
            (format!("in the field {name:?}"), "application/x-www-form-urlencoded")
        }
        _ => return "in no request".to_owned(),
    };
    let bytes_max = PLACEHOLDER_BODY_BYTES_MAX;
    format!("{position} of a body of type {content_type} with at most {bytes_max} bytes")
}

/// Returns the position of the placeholder in the body, if a secret may replace it there.
fn find_placeholder(
    outbound: &CheckedRequest,
    place: &SecretPlace,
    placeholder: &str,
) -> Option<Range<usize>> {
    let body = &outbound.body;
    if body.len() > PLACEHOLDER_BODY_BYTES_MAX {
        return None;
    }
    let search = AhoCorasick::new([placeholder]).ok()?;
    let mut found = search.find_iter(body.as_ref());
    let range = found.next()?.range();
    let content_type = outbound.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let media_type = content_type.split(';').next()?.trim().to_ascii_lowercase();
    let has_granted_type = match place {
        SecretPlace::Json { .. } => {
            media_type == "application/json" || media_type.ends_with("+json")
        }
        SecretPlace::Form { .. } => media_type == "application/x-www-form-urlencoded",
        _ => false,
    };
    // The found bytes may be at another place, while the granted place contains the placeholder
    // with escapes. So the host changes the found bytes in a copy of the body, and checks that the
    // text at the granted place has changed too.
    let changed_text = format!("other{placeholder}");
    let is_at_place = || {
        text_at(body, place).as_deref() == Some(placeholder)
            && text_at(&replace_range(body, range.clone(), &changed_text), place)
                == Some(changed_text.clone())
    };
    (has_granted_type && found.next().is_none() && is_at_place()).then_some(range)
}

/// The secret is escaped for the format of the body.
fn body_with_secret(body: &Bytes, range: Range<usize>, place: &SecretPlace, secret: &str) -> Bytes {
    let text = match place {
        SecretPlace::Form { .. } => utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        _ => {
            let quoted = Value::from(secret).to_string();
            let inside = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            inside.unwrap_or_default().to_owned()
        }
    };
    replace_range(body, range, &text)
}

fn replace_range(body: &Bytes, range: Range<usize>, text: &str) -> Bytes {
    let (before, after) = (body.get(..range.start), body.get(range.end..));
    [before.unwrap_or_default(), text.as_bytes(), after.unwrap_or_default()].concat().into()
}

fn text_at(body: &[u8], place: &SecretPlace) -> Option<String> {
    match place {
        SecretPlace::Json { pointer } => {
            let body: Value = serde_json::from_slice(body).ok()?;
            body.pointer(pointer)?.as_str().map(str::to_owned)
        }
        SecretPlace::Form { name } => {
            let mut fields = url::form_urlencoded::parse(body).filter(|(field, _)| field == name);
            fields.next().map(|(_, value)| value.into_owned()).filter(|_| fields.next().is_none())
        }
        _ => None,
    }
}
