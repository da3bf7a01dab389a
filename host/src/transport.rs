//! Connects to servers, such as those of trackers: names, proxies, TLS and HTTP. The TLS code of
//! Jackfield's own listeners is here too.
//!
//! This module never sends a byte of a request to a tracker.

mod address;
mod connect;
mod identity;
mod own;
mod proxies;
mod resolver;
mod server_tls;
mod tls_fault;
mod trust;

use data_encoding::BASE64;

use crate::domain::ConnectionId;

pub(crate) use address::AddressRules;
pub(crate) use connect::{
    ConnectError, Dialer, HttpConnection, LastAddresses, RESPONSE_HEAD_BYTES_MAX,
    RESPONSE_HEADERS_MAX, Route, Sender,
};
pub use identity::{ClientIdentity, IdentityError};
pub use own::{OwnAddresses, host_name};
pub use server_tls::{ServerTls, ServerTlsError, TlsFiles};
pub use tls_fault::TlsFault;
pub use trust::TrustError;
pub(crate) use trust::{client_config, crypto_provider, file_certificates, system_certificates};

#[cfg(test)]
pub(crate) use {proxies::Proxies, resolver::Resolver};

/// The connection of Jackfield that needs a network connection, with its options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) connection: ConnectionId,
    pub(crate) rules: AddressRules,
    /// The client certificate for the origin, if there is one, or the reason why it cannot be used.
    pub(crate) identity: Result<Option<&'a ClientIdentity>, &'a IdentityError>,
    pub(crate) http1_only: bool,
    pub(crate) last_addresses: &'a LastAddresses,
}

/// Returns the value `Basic …` of an `Authorization` header. Without a user, the secret is the user
/// name.
pub(crate) fn basic_authorization(user: Option<&str>, secret: &str) -> String {
    format!("Basic {}", BASE64.encode(basic_credentials(user, secret).as_bytes()))
}

/// Returns the text that [`basic_authorization`] encodes.
pub(crate) fn basic_credentials(user: Option<&str>, secret: &str) -> String {
    user.map_or_else(|| format!("{secret}:"), |user| format!("{user}:{secret}"))
}
