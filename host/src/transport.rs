//! Connects to servers, such as those of trackers: resolves names, uses proxies and TLS, and
//! negotiates HTTP. The TLS code of Jackfield's own listeners is here too.
//!
//! This module never sends a byte of a request to a tracker and knows nothing of guests. No other
//! module uses the TLS library.

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

/// The connection of Jackfield that needs a network connection, and the options of the network
/// connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    /// The connection of Jackfield, not a network connection.
    pub(crate) connection: ConnectionId,
    /// The addresses that the origin may have.
    pub(crate) rules: AddressRules,
    /// The client certificate to present if the server requests one (`None`: no certificate), or
    /// the reason why the certificate cannot be used.
    pub(crate) identity: Result<Option<&'a ClientIdentity>, &'a IdentityError>,
    /// Whether to offer HTTP/1.1 only.
    pub(crate) http1_only: bool,
    /// For each origin and proxy, the IP address that accepted the last TCP connection.
    pub(crate) last_addresses: &'a LastAddresses,
}

/// Returns the value `Basic …` of an `Authorization` header. If there is no user, the secret is the
/// user name.
pub(crate) fn basic_authorization(user: Option<&str>, secret: &str) -> String {
    format!("Basic {}", BASE64.encode(basic_credentials(user, secret).as_bytes()))
}

/// Returns the text that [`basic_authorization`] encodes: user, colon, secret. Without a user:
/// secret, colon.
pub(crate) fn basic_credentials(user: Option<&str>, secret: &str) -> String {
    user.map_or_else(|| format!("{secret}:"), |user| format!("{user}:{secret}"))
}
