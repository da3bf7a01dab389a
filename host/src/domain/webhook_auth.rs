//! What a connection can require of a webhook request in addition to its token: a credential, and
//! an allowed client address. This file never checks a request.

use super::{Network, string_enum};

/// The name of the secret that a sender must know. No setting of a connector can have this name,
/// because it contains a colon.
pub const WEBHOOK_SECRET: &str = "webhook:secret";
/// The name of a second secret that is accepted, so that senders can change to a new
/// [`WEBHOOK_SECRET`] one after another.
pub const WEBHOOK_SECRET_PREVIOUS: &str = "webhook:secret-previous";

/// The requirements on the senders of a connection's webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookAuth {
    /// How a sender proves that it has the secret; `None`: no secret is required.
    pub credential: Option<WebhookCredential>,
    /// The addresses from which requests are accepted; empty: from every address.
    pub allowed_clients: Vec<Network>,
}

/// How a sender proves that it has the secret [`WEBHOOK_SECRET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookCredential {
    /// `Authorization: Bearer SECRET`.
    Bearer,
    /// `Authorization: Basic …`; the secret is the password.
    Basic {
        /// The user name.
        user: String,
    },
    /// A header whose value is the secret.
    ApiKey {
        /// Lower-case header name.
        header: String,
    },
    /// A signature over the id, the time and the body of the request, made with the secret:
    /// Standard Webhooks 1.0.
    Signature {
        /// Maximum difference between the time of the request and the server's clock, seconds.
        tolerance_s: u32,
    },
}

string_enum! {
    /// The kinds of [`WebhookCredential`].
    pub enum WebhookScheme {
        /// A bearer token.
        Bearer = "bearer",
        /// A user and a password.
        Basic = "basic",
        /// A header that contains the secret.
        ApiKey = "api-key",
        /// A signature of Standard Webhooks.
        Signature = "signature",
    }
}

impl WebhookCredential {
    /// The kind of this credential.
    #[must_use]
    pub fn scheme(&self) -> WebhookScheme {
        match self {
            Self::Bearer => WebhookScheme::Bearer,
            Self::Basic { .. } => WebhookScheme::Basic,
            Self::ApiKey { .. } => WebhookScheme::ApiKey,
            Self::Signature { .. } => WebhookScheme::Signature,
        }
    }
}
