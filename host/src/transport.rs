//! The way to a tracker's server: names and addresses, proxies, TLS, and an HTTP connection on it.
//!
//! Sends no byte of a request, and knows nothing of guests. The only room with the TLS library.

mod address;
mod connect;
mod identity;
mod proxies;
mod resolver;
mod trust;

use data_encoding::BASE64;

use crate::domain::ConnectionId;

pub(crate) use address::AddressRules;
pub(crate) use connect::{
    ConnectError, Dialer, HttpConnection, ProxyAuth, RESPONSE_HEAD_BYTES_MAX, RESPONSE_HEADERS_MAX,
    Reached, Route, Sender,
};
pub use identity::{ClientIdentity, IdentityError};
pub use trust::TrustError;
pub(crate) use trust::{client_config, crypto};

#[cfg(test)]
pub(crate) use {proxies::Proxies, resolver::Resolver};

/// For which connection of the host a connection to an origin is made, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// The connection of the host.
    pub(crate) connection: ConnectionId,
    /// Which addresses it may reach there.
    pub(crate) rules: AddressRules,
    /// What it presents if the server asks for a client certificate.
    pub(crate) identity: Result<Option<&'a ClientIdentity>, &'a IdentityError>,
    /// Whether HTTP/2 is not offered.
    pub(crate) http1_only: bool,
    /// The addresses that it reached last.
    pub(crate) reached: &'a Reached,
}

/// `Basic …`; without a user the secret is the user name.
pub(crate) fn basic(user: Option<&str>, secret: &str) -> String {
    format!("Basic {}", BASE64.encode(basic_pair(user, secret).as_bytes()))
}

/// What [`basic`] encodes.
pub(crate) fn basic_pair(user: Option<&str>, secret: &str) -> String {
    user.map_or_else(|| format!("{secret}:"), |user| format!("{user}:{secret}"))
}
