//! Identifies a person whom a trusted proxy has signed in, by headers of the request.
//!
//! These headers are never used unless a trusted proxy wrote them. The proxy must also send its
//! secret, because any program on the proxy's machine can send the same headers. Only a proxy on a
//! Unix socket needs no secret if none is configured.

use axum::extract::Request;

use crate::config::{Config, PROXY_SECRET_HEADER};
use crate::domain::{Account, Role, StringEnum as _};
use crate::secret::Secret;

use super::client_address::{HeaderSender, request_client_of};
use super::problem::Problem;

/// Whether a request proves that a trusted proxy wrote its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyProof {
    Valid,
    /// The request names no signed-in person, or the headers that name one are ignored.
    Absent,
    /// The proxy's secret is missing or wrong. The request counts as a failed login.
    Wrong,
}

/// Checks whether a trusted proxy wrote the headers of a request.
///
/// # Errors
/// The header with the proxy's secret cannot be used; the problem describes why.
pub(super) fn check_proof(
    config: &Config,
    secret: Option<&Secret>,
    request: &Request,
) -> Result<ProxyProof, Problem> {
    let Some(user_header) = config.proxy_user_header.as_deref() else {
        return Ok(ProxyProof::Absent);
    };
    match request_client_of(request).header_sender {
        HeaderSender::Client => return Ok(ProxyProof::Absent),
        HeaderSender::LocalProxy if secret.is_none() => return Ok(ProxyProof::Valid),
        HeaderSender::LocalProxy | HeaderSender::Proxy => {}
    }
    let sent = single_value(request, PROXY_SECRET_HEADER)?;
    Ok(match (secret, sent) {
        (Some(secret), Some(sent)) if secret.matches(sent) => ProxyProof::Valid,
        (_, None) if !request.headers().contains_key(user_header) => ProxyProof::Absent,
        _ => ProxyProof::Wrong,
    })
}

/// `None` if the proxy names no account.
///
/// # Errors
/// The headers of the proxy cannot be used; the problem describes why.
pub(super) fn named_account(
    config: &Config,
    request: &Request,
) -> Result<Option<Account>, Problem> {
    let Some(user_header) = config.proxy_user_header.as_deref() else { return Ok(None) };
    let Some(name) = single_value(request, user_header)? else { return Ok(None) };
    let full_name = format!("{}{name}", Account::PROXY_PREFIX);
    if !Account::is_name(&full_name) {
        let why =
            format!("the proxy's header {user_header} does not contain a name that can be used");
        return Err(Problem::bad_request(why));
    }
    let role = match config.proxy_role_header.as_deref() {
        Some(role_header) => single_value(request, role_header)?,
        None => None,
    };
    let Some(role) = role.and_then(Role::parse) else {
        let roles: Vec<_> = Role::ALL.iter().map(|role| role.as_str()).collect();
        let why = format!(
            "the proxy signed {name} in without a role: the header of `proxy_role_header` must be one of {}",
            roles.join(", ")
        );
        return Err(Problem::role_too_low(why));
    };
    Ok(Some(Account { name: full_name, role, connections: None }))
}

/// The value of a header; `None` if it is absent or empty. A request in which the header occurs
/// twice is refused, because the proxy did not remove the header that its client sent.
fn single_value<'r>(request: &'r Request, name: &str) -> Result<Option<&'r str>, Problem> {
    let mut values = request.headers().get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        let why = format!(
            "the header {name} occurs twice: the proxy must remove it from what clients send"
        );
        return Err(Problem::bad_request(why));
    }
    let text = std::str::from_utf8(value.as_bytes());
    let text = text.map_err(|_| Problem::bad_request(format!("the header {name} is not UTF-8")))?;
    Ok(Some(text.trim()).filter(|text| !text.is_empty()))
}
