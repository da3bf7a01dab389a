//! OpenID Connect: signs people in with an identity provider (authorization code flow with PKCE).
//!
//! This room never receives the password of a person. A person without a role gets no account.

mod cache;
mod claims;
mod client;
mod id_token;
mod provider;
mod sign_in;

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

pub use sign_in::SignIn;

/// What the requests to the provider need.
pub struct Dependencies {
    /// Sends the requests.
    pub egress: Arc<Egress>,
    /// The answers are charged to this memory.
    pub(crate) memory: Arc<HostMemory>,
    /// The clock for the times in the record of requests.
    pub clock: Arc<dyn Clock>,
    /// Tracks the tasks that fetch the provider's metadata and keys.
    pub tasks: TaskTracker,
}

/// Signs people in with the configured identity provider.
pub struct Oidc {
    settings: config::Oidc,
    client: Arc<Client>,
    client_secret: Option<Secret>,
    provider: Cache<Provider>,
    keys: Cache<Keys>,
}

/// The query of the address to which the provider redirects the browser after a sign-in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Callback {
    /// The authorization code.
    code: Option<String>,
    /// The parameter `state`. It must be the one with which the sign-in began.
    state: Option<String>,
    /// The issuer. If it is given, it must be that of the configured provider.
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// The reason why a sign-in failed, for the log. The text may contain addresses and answers from
/// the company's network, so the person sees only [`OidcError::public_message`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum OidcError {
    /// The provider cannot be reached, or its answer cannot be used.
    #[error("the identity provider cannot be used: {0}")]
    Provider(String),
    /// The sign-in began in another browser, or too long ago, or the callback has no code.
    #[error("this sign-in is not valid any more, or began in another browser: start again")]
    State,
    /// The provider or the person refused the sign-in, or the callback names another issuer.
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
        /// The claim that the configuration maps to roles.
        claim: String,
    },
}

impl OidcError {
    /// Returns the message for the person who tried to sign in. It contains no details of the
    /// network, because anybody may try to sign in.
    #[must_use]
    pub fn public_message(&self) -> String {
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
    /// Makes the client of the configured provider, without a request to the provider.
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

    /// Returns the provider's address for a sign-in. The provider later redirects the browser to
    /// `redirect_uri`.
    ///
    /// # Errors
    /// The provider's metadata cannot be fetched.
    pub async fn begin(&self, sign_in: &SignIn, redirect_uri: &str) -> Result<Url, OidcError> {
        let mut url = self.provider().await?.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &sign_in.state())
            .append_pair("nonce", &sign_in.nonce())
            .append_pair("code_challenge", &sign_in.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Completes a sign-in, and returns the account of the person.
    ///
    /// # Errors
    /// The sign-in failed, or the person has no role.
    pub async fn finish(
        &self,
        sign_in: &SignIn,
        callback: Callback,
        redirect_uri: &str,
    ) -> Result<Account, OidcError> {
        if !callback.state.is_some_and(|state| sign_in.is_state(&state)) {
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
        let token = self.exchange_code(&provider, sign_in, &code, redirect_uri).await?;
        let claims = self.verify_id_token(&provider, &token, sign_in).await?;
        claims::account_of(&self.settings, &claims)
    }
}
