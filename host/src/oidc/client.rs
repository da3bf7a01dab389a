//! Requests to the identity provider, over the server's own egress: with its proxies, trust anchors
//! and limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::{Url, form_urlencoded};
use uuid::Uuid;

use crate::domain::{
    Connection, ConnectionId, ConnectorName, Effect, Grants, Limits, Origin, SecretGrant,
    SecretPlace, printable, shortened,
};
use crate::egress::{
    ActiveConnection, Charged, HttpError, OutboundRequest, Permission, RunRequests,
};
use crate::memory::{Account, MemoryOwner};
use crate::secret::Secret;

use super::{Dependencies, OidcError};

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum size of an answer, bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// The redirects of a request, and the request itself.
const CALLS_MAX: u64 = 5;
/// How much of an unexpected answer is shown, bytes.
const SHOWN_BYTES_MAX: usize = 200;
const CLIENT_SECRET: &str = "client-secret";

pub(super) struct Client(Dependencies);

impl Client {
    pub(super) fn new(dependencies: Dependencies) -> Self {
        Self(dependencies)
    }

    /// Fetches JSON.
    pub(super) async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, OidcError> {
        self.send(url, Method::GET, Bytes::new(), None).await
    }

    /// Posts a form and returns the JSON of the answer. `basic`: the user and the password.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        basic: Option<(&str, &Secret)>,
    ) -> Result<T, OidcError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(url, Method::POST, body.into(), basic).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        url: &Url,
        method: Method,
        body: Bytes,
        basic: Option<(&str, &Secret)>,
    ) -> Result<T, OidcError> {
        let failed = |error: HttpError| OidcError::Provider(format!("{url}: {error}"));
        let form = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
        let is_post = method == Method::POST;
        let request = OutboundRequest {
            // A code is used up, but nothing of a person changes.
            effect: is_post.then_some(Effect::Prepare),
            method,
            url: url.as_str().to_owned(),
            headers: [("accept".to_owned(), "application/json".to_owned())]
                .into_iter()
                .chain(is_post.then_some(form))
                .collect(),
            body,
        };
        let (session, account) = self.session(url, basic)?;
        let answer = session.send(request).await.map_err(failed)?;
        let status = answer.status;
        let (body, _charge) = answer.body.into_memory(&account).await.map_err(failed)?;
        let body: Bytes = body.into();
        let read = serde_json::from_slice(&body).ok().filter(|_| (200..300).contains(&status));
        read.ok_or_else(|| {
            let text = printable(&String::from_utf8_lossy(&body));
            let text = shortened(&text, SHOWN_BYTES_MAX);
            OidcError::Provider(format!("{url} answered {status}: {text}"))
        })
    }

    /// A session that reaches only the origin of this address.
    fn session(
        &self,
        url: &Url,
        basic: Option<(&str, &Secret)>,
    ) -> Result<(Arc<RunRequests>, Arc<Account>), OidcError> {
        let origin = Origin::of(url).map_err(|error| OidcError::Provider(error.to_string()))?;
        let (id, connector) = (ConnectionId(Uuid::nil()), ConnectorName::unnamed());
        let name = "sign-in".to_owned();
        let mut connection = Connection::new(id, name, connector.clone(), Timestamp::UNIX_EPOCH);
        // Companies run their identity providers in their own networks.
        connection.allow_private = true;
        let mut secrets = BTreeMap::new();
        connection.grants = Grants { origins: vec![origin.clone()], ..Grants::default() };
        if let Some((user, secret)) = basic {
            let place = SecretPlace::Basic { user: Some(user.to_owned()) };
            let grant = SecretGrant { origin, place };
            connection.grants.secrets.insert(CLIENT_SECRET.to_owned(), grant);
            secrets.insert(CLIENT_SECRET.to_owned(), secret.clone());
        }
        let limits = Limits {
            outbound_calls: CALLS_MAX,
            response_body_bytes: ANSWER_BYTES_MAX,
            ..Limits::default()
        };
        let owner = MemoryOwner { connector, connection: id };
        let account = Account::open(&self.0.memory, owner, limits.memory_bytes)
            .map_err(|full| OidcError::Provider(full.to_string()))?;
        let charged = Charged { meter: Arc::default(), memory: Arc::clone(&account) };
        let session = RunRequests::new(
            Arc::clone(&self.0.egress),
            Arc::new(ActiveConnection::new(connection, secrets)),
            Permission::Reads,
            limits,
            Arc::clone(&self.0.clock),
            Instant::now() + REQUEST_TIMEOUT,
            charged,
        );
        Ok((session, account))
    }
}
