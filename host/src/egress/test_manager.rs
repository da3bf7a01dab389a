//! Defines how the host itself sends requests to Test Manager for a connection: which origins these
//! requests may reach, and where the client secret is used. The requests use a separate
//! `ActiveConnection`, which a run of a guest never gets, so they never share an HTTP connection
//! with a guest.

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

/// Builds the connection for requests to Test Manager. Returns `None` if `connection` has no
/// settings for Test Manager, or if their base URL is not valid.
pub(super) fn build_active_connection(
    connection: &Connection,
    secret: Option<Secret>,
) -> Option<Arc<ActiveConnection>> {
    let settings = connection.test_manager.as_ref()?;
    let connection = Connection {
        settings: Settings::new(),
        grants: test_manager_grants(settings)?,
        test_manager: None,
        recording_until: None,
        ..connection.clone()
    };
    let secrets = secret.map(|secret| (TEST_MANAGER_SECRET.to_owned(), secret));
    let secrets = secrets.into_iter().collect::<BTreeMap<_, _>>();
    Some(Arc::new(ActiveConnection::new(connection, secrets)))
}

/// Returns the grants for requests to Test Manager: its own origin, to which requests are sent with
/// a token, and the origins of its downloads, to which requests are sent without a token.
fn test_manager_grants(settings: &TestManagerSettings) -> Option<Grants> {
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
    pub(crate) fn test_manager(&self) -> Option<&Arc<Self>> {
        self.test_manager.as_ref()
    }

    /// Returns a copy of the connection for a try. The copy has no idle HTTP connections and no
    /// fetched tokens.
    pub(crate) fn without_tokens(&self) -> Self {
        Self::new(self.connection.clone(), (*self.all_secrets).clone())
    }
}

impl RunRequests {
    /// Fetches the token for this origin, unless a valid token is stored. A request would also
    /// fetch the token; with this separate call, the caller can tell which of the two failed.
    pub(crate) async fn fetch_token(&self, origin: &Origin) -> Result<(), TokenError> {
        let token = token::token_for_origin(self, origin).await;
        let redactor = self.active.credentials.redactor.load();
        token.map(drop).map_err(|error| match error {
            TokenError::Scope(text) => {
                TokenError::Scope(redactor.redact(TextKind::ForPeople, text))
            }
            TokenError::Other(error) => TokenError::Other(error.redacted(&redactor)),
        })
    }

    /// Returns the calls that are recorded so far. Their `at_ms` is measured from `measured_from`.
    pub(crate) fn calls(&self, measured_from: Instant) -> Vec<OutboundCall> {
        self.record.calls_measured_from(measured_from)
    }
}
