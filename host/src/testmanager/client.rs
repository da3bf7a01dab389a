//! Sends reads to Test Manager and returns their JSON. Waits for the rate limit, repeats a request
//! after a temporary error, and describes a permanent one. No request lasts beyond the deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};
use url::Url;

use crate::domain::Origin;
use crate::egress::{HttpError, OutboundRequest, OutboundResponse, RunRequests, TokenError};
use crate::memory::Charge;

use super::address::{api_url, scope_of};
use super::failure::Failure;
use super::shared::ReportFetch;

/// Maximum number of attempts of one request.
const ATTEMPTS_MAX: u32 = 3;
/// The wait before the second attempt; it doubles.
const RETRY_WAIT: Duration = Duration::from_millis(200);
/// How much memory parsed JSON may use for each byte of its text. It is charged before the text is
/// parsed.
const PARSED_FACTOR: u64 = 8;

/// Longer JSON texts are parsed on a separate thread, bytes.
const PARSED_HERE_BYTES_MAX: usize = 64 << 10;

/// Sends requests that end by one deadline.
pub(super) struct Client {
    pub(super) shared: Arc<ReportFetch>,
    session: Arc<RunRequests>,
    deadline: Instant,
    bytes_max: u64,
}

impl Client {
    pub(super) fn new(
        shared: Arc<ReportFetch>,
        session: Arc<RunRequests>,
        deadline: Instant,
        bytes_max: u64,
    ) -> Self {
        Self { shared, session, deadline, bytes_max }
    }

    /// A client for a long search. It leaves a quarter of the time to requests that do not need the
    /// result of the search.
    pub(super) fn for_search(&self) -> Result<Self, Failure> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.shared.client(self.deadline - left / 4)
    }

    /// Requests the JSON at this path, relative to the API's base URL. The segments of the path are
    /// percent-encoded.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        let (value, charge) = self.get_charged(path, query).await?;
        self.shared.keep(charge);
        Ok(value)
    }

    /// As [`Self::get`], for JSON that may be dropped soon: the memory is charged until the second
    /// value is dropped.
    pub(super) async fn get_charged(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<(Value, Charge), Failure> {
        let url = api_url(&self.shared.settings.base_url, path, query);
        let answer = self.send(url, "application/json", scope_of(path)).await?;
        let status = answer.status;
        let body = self.content(answer).await?;
        let charged = self.shared.account()?.charge(body.len() as u64 * PARSED_FACTOR);
        let charge = charged.map_err(|full| Failure::Other(full.to_string()))?;
        let value = parse(&body).await;
        let value = value.ok_or_else(|| Failure::instead_of("JSON", status, &body))?;
        Ok((value, charge))
    }

    /// Downloads the resource at this path, relative to the API's base URL.
    pub(super) async fn get_bytes(&self, path: &[&str]) -> Result<Bytes, Failure> {
        let url = api_url(&self.shared.settings.base_url, path, &[]);
        let answer = self.send(url, "*/*", scope_of(path)).await?;
        self.content(answer).await
    }

    /// Fetches a token, unless a valid one is kept. Runs once for each failed test.
    pub(super) async fn ensure_token(&self) -> Result<(), Failure> {
        let origin = Origin::of(&self.shared.settings.base_url);
        let origin = origin.map_err(|error| Failure::Token(error.to_string()))?;
        let fetching = async || {
            let mut result = self.session.fetch_token(&origin).await;
            if matches!(&result, Err(error) if is_short_token_error(error))
                && self.wait_for_retry(1).await
            {
                result = self.session.fetch_token(&origin).await;
            }
            result.map_err(|error| match Instant::now() >= self.deadline {
                true => self.no_token_in_time(),
                false => Failure::from(error),
            })
        };
        self.shared.token.get_or_init(fetching).await.clone()
    }

    fn no_token_in_time(&self) -> Failure {
        let url = &self.shared.settings.token_url;
        Failure::Token(format!(
            "there is no token: {url} did not answer in time; check this token URL"
        ))
    }

    /// Sends a read; repeats it after an error that is probably temporary.
    async fn send(&self, url: Url, accept: &str, scope: &str) -> Result<OutboundResponse, Failure> {
        self.ensure_token().await?;
        let mut attempt = 1;
        loop {
            self.wait_for_rate_limit().await?;
            let sent = self.session.send(request(&url, accept)).await;
            let last = attempt == ATTEMPTS_MAX;
            let failure = match sent {
                Ok(answer) => {
                    self.shared.state.rate_limit.update(
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
                // Rounded up to 10 s, so that all parts of one failed test show the same reason.
                let seconds = ((until - Instant::now()).as_secs() + 1).next_multiple_of(10);
                return Err(Failure::Other(format!(
                    "Test Manager's rate limit is used up for another {seconds} s, longer than this \
                     event may wait"
                )));
            }
            sleep_until(until).await;
        }
        Ok(())
    }

    /// Waits before the next attempt. Returns false without a wait if the deadline is too near.
    async fn wait_for_retry(&self, attempt: u32) -> bool {
        let wait = RETRY_WAIT * 2_u32.saturating_pow(attempt.saturating_sub(1));
        if Instant::now() + wait >= self.deadline {
            return false;
        }
        sleep(wait).await;
        true
    }

    /// The body in memory; its memory stays charged until the body is dropped.
    async fn content(&self, answer: OutboundResponse) -> Result<Bytes, Failure> {
        let account = self.shared.account()?;
        let (body, charge) =
            answer.body.into_memory(&account).await.map_err(|e| self.failure(&e))?;
        Ok(charge.hold(body.into()))
    }

    fn failure(&self, error: &HttpError) -> Failure {
        if let HttpError::NotGranted(origin) = error {
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
                Failure::TooLarge(format!("it has more than {} bytes", self.bytes_max))
            }
            error => {
                let (_, text) = error.clone().into_parts();
                Failure::Other(format!("Test Manager: {text}"))
            }
        }
    }
}

/// Parses JSON. Parses a long text on a thread where it delays no other task.
async fn parse(body: &Bytes) -> Option<Value> {
    if body.len() <= PARSED_HERE_BYTES_MAX {
        return serde_json::from_slice(body).ok();
    }
    let body = body.clone();
    let parsing = tokio::task::spawn_blocking(move || serde_json::from_slice(&body).ok());
    parsing.await.ok().flatten()
}

/// Whether an error is probably temporary, so that another attempt may succeed.
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
