//! Sends requests to the identity provider through the server's egress.
//!
//! A request never reaches an origin other than the origin of its address.

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
    ActiveConnection, HttpError, OutboundRequest, Permission, RunAccounts, RunRequests,
};
use crate::memory::{Account, MemoryOwner};
use crate::secret::Secret;

use super::{Dependencies, OidcError};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Maximum number of HTTP requests for one address: the first request and its redirects.
const CALLS_MAX: u64 = 5;
/// Maximum length of an unexpected answer in an error message, bytes.
const SHOWN_BYTES_MAX: usize = 200;
/// The name of the client secret in the grants of a request.
const CLIENT_SECRET_NAME: &str = "client-secret";

pub(super) struct Client(Dependencies);

impl Client {
    pub(super) fn new(dependencies: Dependencies) -> Self {
        Self(dependencies)
    }

    /// Returns the JSON of the answer.
    pub(super) async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, OidcError> {
        self.send(url, Method::GET, Bytes::new(), None).await
    }

    /// Sends a form and returns the JSON of the answer. `basic` contains the user and the password
    /// for HTTP Basic authentication.
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
        let provider_error = |error: HttpError| OidcError::Provider(format!("{url}: {error}"));
        let form = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
        let is_post = method == Method::POST;
        let request = OutboundRequest {
            // A POST redeems an authorization code, but creates no defect. Without this effect, it
            // would count as a write and be refused.
            effect: is_post.then_some(Effect::Prepare),
            method,
            url: url.as_str().to_owned(),
            headers: [("accept".to_owned(), "application/json".to_owned())]
                .into_iter()
                .chain(is_post.then_some(form))
                .collect(),
            body,
        };
        let (requests, account) = self.open_requests(url, basic)?;
        let answer = requests.send(request).await.map_err(provider_error)?;
        let status = answer.status;
        let (body, _charge) = answer.body.into_memory(&account).await.map_err(provider_error)?;
        let body: Bytes = body.into();
        let parsed = serde_json::from_slice(&body).ok().filter(|_| (200..300).contains(&status));
        parsed.ok_or_else(|| {
            let text = printable(&String::from_utf8_lossy(&body));
            let text = shortened(&text, SHOWN_BYTES_MAX);
            OidcError::Provider(format!("{url} answered {status}: {text}"))
        })
    }

    /// Returns a sender that permits only requests to the origin of this address.
    fn open_requests(
        &self,
        url: &Url,
        basic: Option<(&str, &Secret)>,
    ) -> Result<(Arc<RunRequests>, Arc<Account>), OidcError> {
        let origin = Origin::of(url).map_err(|error| OidcError::Provider(error.to_string()))?;
        let (id, connector) = (ConnectionId(Uuid::nil()), ConnectorName::unnamed());
        let name = "sign-in".to_owned();
        let mut connection = Connection::new(id, name, connector.clone(), Timestamp::UNIX_EPOCH);
        // Many companies run their identity provider at a private address.
        connection.allow_private = true;
        let mut secrets = BTreeMap::new();
        connection.grants = Grants { origins: vec![origin.clone()], ..Grants::default() };
        if let Some((user, secret)) = basic {
            let place = SecretPlace::Basic { user: Some(user.to_owned()) };
            let grant = SecretGrant { origin, place };
            connection.grants.secrets.insert(CLIENT_SECRET_NAME.to_owned(), grant);
            secrets.insert(CLIENT_SECRET_NAME.to_owned(), secret.clone());
        }
        let limits = Limits {
            outbound_calls: CALLS_MAX,
            response_body_bytes: ANSWER_BYTES_MAX,
            ..Limits::default()
        };
        let owner = MemoryOwner { connector, connection: id };
        let account = Account::open(&self.0.memory, owner, limits.memory_bytes)
            .map_err(|full| OidcError::Provider(full.to_string()))?;
        let accounts = RunAccounts { meter: Arc::default(), memory: Arc::clone(&account) };
        let requests = RunRequests::new(
            Arc::clone(&self.0.egress),
            Arc::new(ActiveConnection::new(connection, secrets)),
            Permission::Reads,
            limits,
            Arc::clone(&self.0.clock),
            Instant::now() + REQUEST_TIMEOUT,
            accounts,
        );
        Ok((requests, account))
    }
}
