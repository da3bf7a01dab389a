//! OpenID Connect: asks an identity provider who uses a browser (authorization code with PKCE).
//!
//! Never sees a password. What a person may do follows from the claims of the provider's ID token
//! and the configuration; a person without a role gets no session.

mod cache;
mod claims;
mod client;
mod id_token;
mod login;
mod provider;

use std::sync::Arc;

use serde::Deserialize;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::config;
use crate::domain::{Account, Clock};
use crate::egress::Egress;
use crate::memory::HostMemory;
use crate::secret::Secret;

use cache::Cache;
use client::Client;
use provider::{Keys, Provider};

pub use login::Login;

/// The parts that the requests to the provider use.
pub struct Dependencies {
    /// Sends the requests.
    pub egress: Arc<Egress>,
    /// The memory that answers are charged to.
    pub(crate) memory: Arc<HostMemory>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Fetches that go on without those who asked for them.
    pub tasks: TaskTracker,
}

/// The identity provider with which browsers sign in.
pub struct Oidc {
    settings: config::Oidc,
    client: Arc<Client>,
    client_secret: Option<Secret>,
    provider: Cache<Provider>,
    keys: Cache<Keys>,
}

/// What the provider sends back with the browser.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Callback {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// The reason why a sign-in failed, for the log. Its text may contain addresses and answers of the
/// company's network; [`OidcError::shown`] is for the person who tried.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OidcError {
    /// The provider cannot be reached or answers what the standard does not allow.
    #[error("the identity provider cannot be used: {0}")]
    Provider(String),
    /// The sign-in did not begin in this browser, or too long ago.
    #[error("this sign-in is not valid any more, or began in another browser: start again")]
    State,
    /// The provider refused, or the person did.
    #[error("the identity provider refused the sign-in: {0}")]
    Refused(String),
    /// The ID token cannot be trusted.
    #[error("the identity provider sent an ID token that is not valid: {0}")]
    IdToken(String),
    /// The person has no role.
    #[error(
        "{name} has no role here: the claim `{claim}` has no value that [oidc] maps to a role; ask \
         an admin"
    )]
    NoRole {
        /// The name of the person.
        name: String,
        /// The configured claim.
        claim: String,
    },
}

impl OidcError {
    /// What the person who tried may read, who may be anybody.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Provider(_) => {
                "The identity provider cannot be used at the moment. Try again in a \
                                  minute; if it still fails, ask an admin: the reason is in the \
                                  server's log."
                    .to_owned()
            }
            Self::IdToken(_) => {
                "The identity provider's answer cannot be trusted. Start again; if \
                                 it still fails, ask an admin: the reason is in the server's log."
                    .to_owned()
            }
            Self::State | Self::Refused(_) | Self::NoRole { .. } => self.to_string(),
        }
    }
}

impl Oidc {
    /// The provider of the configuration; its metadata is fetched at the first sign-in.
    #[must_use]
    pub fn new(
        settings: config::Oidc,
        client_secret: Option<Secret>,
        dependencies: Dependencies,
    ) -> Self {
        let tasks = dependencies.tasks.clone();
        let (provider, keys) = (Cache::new(tasks.clone()), Cache::new(tasks));
        let client = Arc::new(Client::new(dependencies));
        Self { settings, client, client_secret, provider, keys }
    }

    /// The address to which a browser goes to sign in. It comes back to `redirect_uri`.
    ///
    /// # Errors
    /// The provider's metadata cannot be fetched.
    pub async fn begin(&self, login: &Login, redirect_uri: &str) -> Result<Url, OidcError> {
        let mut url = self.provider().await?.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &login.state())
            .append_pair("nonce", &login.nonce())
            .append_pair("code_challenge", &login.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Who signed in.
    ///
    /// # Errors
    /// The sign-in failed, or the person has no role.
    pub async fn finish(
        &self,
        login: &Login,
        callback: Callback,
        redirect_uri: &str,
    ) -> Result<Account, OidcError> {
        if !callback.state.is_some_and(|state| login.is_state(&state)) {
            return Err(OidcError::State);
        }
        if let Some(error) = callback.error {
            let why = callback.error_description.map(|text| format!("{error}: {text}"));
            return Err(OidcError::Refused(why.unwrap_or(error)));
        }
        let provider = self.provider().await?;
        if callback.iss.is_some_and(|issuer| issuer != provider.issuer) {
            let why = "the answer names another issuer than `oidc.issuer`: check this key";
            return Err(OidcError::Refused(why.to_owned()));
        }
        let code = callback.code.ok_or(OidcError::State)?;
        let token = self.id_token(&provider, login, &code, redirect_uri).await?;
        let claims = self.verified(&provider, &token, login).await?;
        claims::account(&self.settings, &claims)
    }
}
