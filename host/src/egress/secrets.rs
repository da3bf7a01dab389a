//! Inserts a connection's secrets into a request, each at its place and on its origin only.
//!
//! Only this file and `token.rs` put a secret's value into a request. Never logs a secret.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::domain::{Limits, SecretPlace};
use crate::secret::Secret;
use crate::transport::basic;

use super::authorize::{Outbound, body_too_large};
use super::{ActiveConnection, HttpError, body_place};

/// Inserts every secret that the request's origin is granted. `token` is a fetched OAuth token.
///
/// # Errors
/// A secret has characters that a header cannot contain, or the body exceeds its limit after the
/// placeholders are replaced.
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

/// Sets one query parameter; replaces a parameter of the same name that the guest set.
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

/// Replaces the placeholders in the body. [`body_place::check_placeholders`] has checked that each
/// placeholder is at its granted place.
fn replace_placeholders(
    outbound: &mut Outbound,
    active: &ActiveConnection,
    limits: &Limits,
) -> Result<(), HttpError> {
    for (name, placeholder) in &active.credentials.placeholders {
        let grant = active.connection.grants.secrets.get(name);
        let secret = active.credentials.secrets.get(name);
        if let (Some(grant), Some(secret)) = (grant, secret)
            && grant.origin == outbound.origin
            && let Some(at) = body_place::find_placeholder(outbound, &grant.place, placeholder)
        {
            outbound.body =
                body_place::body_with_secret(&outbound.body, at, &grant.place, secret.reveal());
            if outbound.body.len() as u64 > limits.request_body_bytes {
                return Err(body_too_large(limits));
            }
        }
    }
    Ok(())
}
