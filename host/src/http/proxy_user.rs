//! The person whom a trusted proxy has signed in, by its headers.
//!
//! Read only if a trusted proxy sent the request: any client can send these headers.

use axum::extract::Request;

use crate::config::Config;
use crate::domain::{Account, Role, StringEnum as _};

use super::client_address::origin_of;
use super::problem::Problem;

/// What the names of these accounts begin with, so that they never equal the name of a token.
const NAME_PREFIX: &str = "proxy:";

/// The account that the proxy names, if it names one.
///
/// # Errors
/// The headers cannot be used; the problem says why.
pub(super) fn account(config: &Config, request: &Request) -> Result<Option<Account>, Problem> {
    let Some(header) =
        config.proxy_user_header.as_deref().filter(|_| origin_of(request).is_forwarded)
    else {
        return Ok(None);
    };
    let Some(name) = only(request, header)? else { return Ok(None) };
    let full_name = format!("{NAME_PREFIX}{name}");
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
