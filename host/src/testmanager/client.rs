//! Sends reads to Test Manager and returns their JSON: waits for the rate limit, repeats what failed
//! for a moment, describes what failed for good. Everything ends by the deadline.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, sleep_until};
use url::Url;

use crate::domain::{Limits, Origin, OutboundCall, TestManagerSettings};
use crate::egress::{
    ActiveConnection, Charged, HttpError, OutboundRequest, OutboundResponse, Permission, Session,
    TokenError,
};
use crate::memory::{Account, Charge, MemoryOwner};

use super::Dependencies;
use super::failure::{Failure, reason};
use super::state::State;

/// Most requests of one session, with tokens, redirects and repetitions.
const REQUESTS_MAX: u64 = 100;
/// Most attempts of one request.
const ATTEMPTS_MAX: u32 = 3;
/// The wait before the second attempt; it doubles.
const RETRY_WAIT: Duration = Duration::from_millis(200);
/// The largest JSON answer, bytes.
const JSON_BYTES_MAX: u64 = 4 << 20;
/// How much memory parsed JSON may use for each byte of its text. It is charged before the text is
/// parsed.
const PARSED_FACTOR: u64 = 8;

/// What all requests for one failed test share.
pub(super) struct Shared {
    pub(super) deps: Arc<Dependencies>,
    /// What the requests may use.
    active: Arc<ActiveConnection>,
    pub(super) settings: TestManagerSettings,
    /// The project to which the connection is pinned.
    pub(super) pinned: Option<String>,
    pub(super) state: Arc<State>,
    limits: Limits,
    /// Opened at the first request.
    account: OnceLock<Arc<Account>>,
    /// For the JSON that is kept.
    charges: Mutex<Vec<Charge>>,
    sessions: Mutex<Vec<Arc<Session>>>,
    token: OnceCell<Result<(), Failure>>,
}

impl Shared {
    pub(super) fn new(
        deps: Arc<Dependencies>,
        active: Arc<ActiveConnection>,
        settings: TestManagerSettings,
        pinned: Option<String>,
        state: Arc<State>,
        limits: Limits,
    ) -> Self {
        Self {
            deps,
            active,
            settings,
            pinned,
            state,
            limits,
            account: OnceLock::new(),
            charges: Mutex::default(),
            sessions: Mutex::default(),
            token: OnceCell::new(),
        }
    }

    pub(super) fn active(&self) -> &Arc<ActiveConnection> {
        &self.active
    }

    /// The requests so far.
    pub(super) fn calls(&self) -> Vec<OutboundCall> {
        self.sessions.lock().iter().flat_map(|session| session.calls()).collect()
    }

    /// A client whose requests end by the deadline.
    pub(super) fn client(self: &Arc<Self>, deadline: Instant) -> Result<Client, Failure> {
        self.client_with(deadline, JSON_BYTES_MAX.min(self.limits.response_body_bytes))
    }

    /// The same, whose answers may have so many bytes.
    pub(super) fn client_with(
        self: &Arc<Self>,
        deadline: Instant,
        bytes_max: u64,
    ) -> Result<Client, Failure> {
        let limits =
            Limits { outbound_calls: REQUESTS_MAX, response_body_bytes: bytes_max, ..self.limits };
        let memory = self.account()?;
        let charged = Charged { meter: Arc::default(), memory };
        let session = Session::new(
            Arc::clone(&self.deps.egress),
            Arc::clone(&self.active),
            Permission::Reads,
            limits,
            Arc::clone(&self.deps.clock),
            deadline,
            charged,
        );
        self.sessions.lock().push(Arc::clone(&session));
        let shared = Arc::clone(self);
        Ok(Client { shared, session, deadline, bytes_max })
    }

    /// The memory of the requests of this failed test.
    fn account(&self) -> Result<Arc<Account>, Failure> {
        if let Some(account) = self.account.get() {
            return Ok(Arc::clone(account));
        }
        let connection = &self.active.connection;
        let owner =
            MemoryOwner { connector: connection.connector.clone(), connection: connection.id };
        let account = Account::open(&self.deps.memory, owner, self.limits.memory_bytes);
        let account = account.map_err(|full| Failure::Token(full.to_string()))?;
        Ok(Arc::clone(self.account.get_or_init(|| account)))
    }
}

/// Sends requests that end by one deadline.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    session: Arc<Session>,
    deadline: Instant,
    bytes_max: u64,
}

impl Client {
    /// The JSON below the API's address. The parts of the path are escaped.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        let url = api_url(&self.shared.settings.base_url, path, query);
        let answer = self.send(url, "application/json", scope_of(path)).await?;
        let status = answer.status;
        let body = self.content(answer).await?;
        let charged = self.shared.account()?.charge(body.len() as u64 * PARSED_FACTOR);
        let charge = charged.map_err(|full| Failure::Other(full.to_string()))?;
        let value = serde_json::from_slice(&body);
        let value = value.map_err(|_| Failure::instead_of("JSON", status, &body))?;
        self.shared.charges.lock().push(charge);
        Ok(value)
    }

    /// The bytes below the API's address.
    pub(super) async fn get_bytes(&self, path: &[&str]) -> Result<Bytes, Failure> {
        let url = api_url(&self.shared.settings.base_url, path, &[]);
        let answer = self.send(url, "*/*", scope_of(path)).await?;
        self.content(answer).await
    }

    /// Fetches a token, unless a valid one is kept. Asked once for each failed test.
    pub(super) async fn token(&self) -> Result<(), Failure> {
        let origin = Origin::of(&self.shared.settings.base_url);
        let origin = origin.map_err(|error| Failure::Token(error.to_string()))?;
        let fetching = async || {
            let mut result = self.session.fetch_token(&origin).await;
            if matches!(&result, Err(error) if is_short_token_error(error))
                && self.wait_for_retry(1).await
            {
                result = self.session.fetch_token(&origin).await;
            }
            result.map_err(Failure::from)
        };
        self.shared.token.get_or_init(fetching).await.clone()
    }

    /// Sends a read; repeats it after an error that may be over soon.
    async fn send(&self, url: Url, accept: &str, scope: &str) -> Result<OutboundResponse, Failure> {
        self.token().await?;
        let mut attempt = 1;
        loop {
            self.wait_for_rate_limit().await?;
            let sent = self.session.send(request(&url, accept)).await;
            let last = attempt == ATTEMPTS_MAX;
            let failure = match sent {
                Ok(answer) => {
                    self.shared.state.rate_limit.note(
                        answer.status,
                        &answer.headers,
                        Instant::now(),
                    );
                    match answer.status {
                        200..=299 => return Ok(answer),
                        // After a 401, the next request gets a new token.
                        401 if attempt == 1 => {
                            attempt += 1;
                            continue;
                        }
                        429 if !last => {
                            attempt += 1;
                            continue;
                        }
                        status => {
                            let body = self.content(answer).await.unwrap_or_default();
                            let failure = Failure::of_status(status, &body, scope);
                            if last || status < 500 {
                                return Err(failure);
                            }
                            failure
                        }
                    }
                }
                Err(error) if last || !is_short_error(&error) => return Err(self.failure(&error)),
                Err(error) => self.failure(&error),
            };
            if !self.wait_for_retry(attempt).await {
                return Err(failure);
            }
            attempt += 1;
        }
    }

    /// Waits until the rate limit allows another request.
    async fn wait_for_rate_limit(&self) -> Result<(), Failure> {
        while let Some(until) = self.shared.state.rate_limit.wait_until(Instant::now()) {
            if until >= self.deadline {
                let seconds = (until - Instant::now()).as_secs() + 1;
                return Err(Failure::Other(format!(
                    "Test Manager's rate limit is used up for another {seconds} s, longer than this \
                     event may wait"
                )));
            }
            sleep_until(until).await;
        }
        Ok(())
    }

    /// Waits a moment; false if the deadline is too near.
    async fn wait_for_retry(&self, attempt: u32) -> bool {
        let wait = RETRY_WAIT * 2_u32.saturating_pow(attempt.saturating_sub(1));
        if Instant::now() + wait >= self.deadline {
            return false;
        }
        sleep(wait).await;
        true
    }

    /// The body in memory, charged until it is dropped.
    async fn content(&self, answer: OutboundResponse) -> Result<Bytes, Failure> {
        let account = self.shared.account()?;
        let (body, charge) =
            answer.body.into_memory(&account).await.map_err(|e| self.failure(&e))?;
        Ok(charge.hold(body.into()))
    }

    fn failure(&self, error: &HttpError) -> Failure {
        if let Some(origin) = error.ungranted_origin() {
            return Failure::Other(format!(
                "Test Manager redirects to {origin}, which is not listed; if downloads come from \
                 there, add it with `jackfield connections edit NAME --test-manager-asset-origin \
                 {origin}`"
            ));
        }
        if Instant::now() >= self.deadline {
            return Failure::Other("Test Manager did not answer in time".to_owned());
        }
        match error {
            HttpError::Limit(text) if text.starts_with("`limits.response_body_bytes`") => {
                Failure::Other(format!("it has more than {} bytes", self.bytes_max))
            }
            _ => Failure::Other(format!("Test Manager: {}", reason(error))),
        }
    }
}

/// Whether an error may be over soon.
fn is_short_error(error: &HttpError) -> bool {
    matches!(error, HttpError::Unreachable(_) | HttpError::Interrupted(_))
}

fn is_short_token_error(error: &TokenError) -> bool {
    matches!(error, TokenError::Other(error) if is_short_error(error))
}

fn request(url: &Url, accept: &str) -> OutboundRequest {
    OutboundRequest {
        method: Method::GET,
        effect: None,
        url: url.as_str().to_owned(),
        headers: vec![("accept".to_owned(), accept.to_owned())],
        body: Bytes::new(),
    }
}

/// The address of a request: below Test Manager's own address, whose path is kept.
fn api_url(base_url: &Url, path: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = base_url.clone();
    if let Ok(mut parts) = url.path_segments_mut() {
        parts.pop_if_empty().extend(["api", "v2"]).extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// The scope that a request probably needs, by the collection in its path.
fn scope_of(path: &[&str]) -> &'static str {
    let collection = if path.first() == Some(&"projects") {
        "projects"
    } else {
        path.get(1).copied().unwrap_or_default()
    };
    match (collection, path.last().copied()) {
        (_, Some("assignedrequirements")) => "TM.Requirements.Read",
        ("projects", _) => "TM.Projects.Read",
        ("testcases" | "teststeps" | "objectlabels", _) => "TM.TestCases.Read",
        ("testsets", _) => "TM.TestSets.Read",
        ("attachments", _) => "TM.Attachments.Read",
        ("customfieldvalues", _) => "TM.CustomFieldValues.Read",
        _ => "TM.TestExecutions.Read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_address_is_kept_and_parts_are_escaped() {
        for (base, url) in [
            ("https://tm.example", "https://tm.example/api/v2/p/x%2F..%3F?top=1&q=a+b"),
            ("https://tm.example/", "https://tm.example/api/v2/p/x%2F..%3F?top=1&q=a+b"),
            ("https://tm.example/o/t_/", "https://tm.example/o/t_/api/v2/p/x%2F..%3F?top=1&q=a+b"),
        ] {
            let base = Url::parse(base).unwrap();
            let built = api_url(&base, &["p", "x/..?"], &[("top", "1"), ("q", "a b")]);
            assert_eq!(built.as_str(), url);
        }
    }

    #[test]
    fn a_request_that_is_refused_names_its_scope() {
        for (path, scope) in [
            (&["projects", "prefix", "SHOP"][..], "TM.Projects.Read"),
            (&["1", "testcases", "2", "assignedrequirements"], "TM.Requirements.Read"),
            (&["1", "customfieldvalues", "TestCase", "all"], "TM.CustomFieldValues.Read"),
            (&["1", "testcaselogs", "2"], "TM.TestExecutions.Read"),
        ] {
            assert_eq!(scope_of(path), scope);
        }
    }
}
