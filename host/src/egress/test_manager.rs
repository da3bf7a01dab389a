//! Defines how the host itself sends requests to Test Manager for a connection: the origins that
//! these requests may reach, and the use of the client secret.
//!
//! The requests use a separate `ActiveConnection`, which no run of a guest gets. So the same rules,
//! limits and redaction apply as to a guest's requests, and guests share no HTTP connection with
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::domain::{
    Connection, Grants, Origin, OutboundCall, SecretGrant, SecretPlace, Settings,
    TEST_MANAGER_SECRET, TestManagerSettings,
};
use crate::redact::TextKind;
use crate::secret::Secret;

use super::token::{self, TokenError};
use super::{ActiveConnection, RunRequests};

/// Builds the connection for requests to Test Manager. `None` if the connection has no settings for
/// it.
pub(super) fn activate(
    connection: &Connection,
    secret: Option<Secret>,
) -> Option<Arc<ActiveConnection>> {
    let settings = connection.test_manager.as_ref()?;
    let connection = Connection {
        settings: Settings::new(),
        grants: grants(settings)?,
        test_manager: None,
        record_until: None,
        ..connection.clone()
    };
    let secrets = secret.map(|secret| (TEST_MANAGER_SECRET.to_owned(), secret));
    let secrets = secrets.into_iter().collect::<BTreeMap<_, _>>();
    Some(Arc::new(ActiveConnection::new(connection, secrets)))
}

/// Returns the grants: the origin of Test Manager, which gets a token, and the origins of its
/// downloads, which get none.
fn grants(settings: &TestManagerSettings) -> Option<Grants> {
    let origin = Origin::of(&settings.base_url).ok()?;
    let place = SecretPlace::ClientCredentials {
        token_url: settings.token_url.clone(),
        client_id: settings.client_id.clone(),
        scope: Some(settings.scopes.join(" ")),
    };
    let secret = SecretGrant { origin: origin.clone(), place };
    let mut origins = vec![origin];
    for asset_origin in &settings.asset_origins {
        if !origins.contains(asset_origin) {
            origins.push(asset_origin.clone());
        }
    }
    let secrets = BTreeMap::from([(TEST_MANAGER_SECRET.to_owned(), secret)]);
    Some(Grants { origins, secrets, ..Grants::default() })
}

impl ActiveConnection {
    /// Returns the connection that the host's requests to Test Manager use.
    pub(crate) fn test_manager(&self) -> Option<&Arc<Self>> {
        self.test_manager.as_ref()
    }

    /// Returns a copy of the connection without idle HTTP connections and fetched tokens, for a
    /// `try`.
    pub(crate) fn without_tokens(&self) -> Self {
        Self::new(self.connection.clone(), (*self.all_secrets).clone())
    }
}

impl RunRequests {
    /// Fetches the token for this origin, unless a valid one is stored. A request would also fetch
    /// the token. This separate call shows whether the token or the request failed.
    ///
    /// # Errors
    /// The token request failed; the text contains no secret.
    pub(crate) async fn fetch_token(&self, origin: &Origin) -> Result<(), TokenError> {
        let token = token::for_origin(self, origin).await;
        let redactor = self.active.credentials.redactor.load();
        token.map(drop).map_err(|error| match error {
            TokenError::Scope(text) => {
                TokenError::Scope(redactor.redact(TextKind::ForPeople, text))
            }
            TokenError::Other(error) => TokenError::Other(error.redacted(&redactor)),
        })
    }

    /// Returns the calls of this run so far, with their times measured from `measured_from`.
    pub(crate) fn calls(&self, measured_from: Instant) -> Vec<OutboundCall> {
        self.record.calls_measured_from(measured_from)
    }
}
