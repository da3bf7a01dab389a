//! The person whom a trusted proxy has signed in, by its headers.
//!
//! Read only if a trusted proxy wrote the headers and, unless it uses a Unix socket, sent its
//! secret: any program on the proxy's machine can send these headers.

use axum::extract::Request;

use crate::config::{Config, PROXY_SECRET_HEADER};
use crate::domain::{Account, Role, StringEnum as _};
use crate::secret::Secret;

use super::client_address::{HeadersBy, origin_of};
use super::problem::Problem;

/// What a request shows of the proxy's secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyProof {
    /// The proxy wrote the headers.
    Valid,
    /// No proxy claims to have signed anybody in.
    Absent,
    /// The secret is wrong: an attempt to sign in that failed.
    Wrong,
}

/// Whether the proxy that signs people in wrote the headers of this request.
///
/// # Errors
/// The header of the secret cannot be used; the problem says why.
pub(super) fn proof(
    config: &Config,
    secret: Option<&Secret>,
    request: &Request,
) -> Result<ProxyProof, Problem> {
    let Some(header) = config.proxy_user_header.as_deref() else { return Ok(ProxyProof::Absent) };
    match origin_of(request).headers_by {
        HeadersBy::Client => return Ok(ProxyProof::Absent),
        HeadersBy::LocalProxy if secret.is_none() => return Ok(ProxyProof::Valid),
        HeadersBy::LocalProxy | HeadersBy::Proxy => {}
    }
    let given = only(request, PROXY_SECRET_HEADER)?;
    Ok(match (secret, given) {
        (Some(secret), Some(given)) if secret.matches(given) => ProxyProof::Valid,
        (_, None) if !request.headers().contains_key(header) => ProxyProof::Absent,
        _ => ProxyProof::Wrong,
    })
}

/// The account that the proxy names, if it names one.
///
/// # Errors
/// The headers cannot be used; the problem says why.
pub(super) fn account(config: &Config, request: &Request) -> Result<Option<Account>, Problem> {
    let Some(header) = config.proxy_user_header.as_deref() else { return Ok(None) };
    let Some(name) = only(request, header)? else { return Ok(None) };
    let full_name = format!("{}{name}", Account::PROXY_PREFIX);
    if !Account::is_name(&full_name) {
        let why = format!("the proxy's header {header} has no name that can be used");
        return Err(Problem::bad_request(why));
    }
    let role = match config.proxy_role_header.as_deref() {
        Some(header) => only(request, header)?,
        None => None,
    };
    let Some(role) = role.and_then(Role::parse) else {
        let roles: Vec<_> = Role::ALL.iter().map(|role| role.as_str()).collect();
        let why = format!(
            "the proxy signed {name} in without a role: its header proxy_role_header must be one of {}",
            roles.join(", ")
        );
        return Err(Problem::role_too_low(why));
    };
    Ok(Some(Account { name: full_name, role, connections: None }))
}

/// The only value of a header. Two values: the proxy did not remove what its client sent.
fn only<'r>(request: &'r Request, name: &str) -> Result<Option<&'r str>, Problem> {
    let mut values = request.headers().get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let why = format!("the header {name} is there twice: the proxy must remove its client's");
        return Err(Problem::bad_request(why));
    }
    let text = std::str::from_utf8(value.as_bytes());
    let text = text.map_err(|_| Problem::bad_request(format!("the header {name} is not UTF-8")))?;
    Ok(Some(text.trim()).filter(|text| !text.is_empty()))
}
