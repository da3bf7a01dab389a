//! Sends read requests to Test Manager and returns the answers. Waits for the rate limit, repeats a
//! request after a temporary error, and describes the error of the last attempt. No request
//! continues after the deadline.

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

use super::address::{api_url, required_scope};
use super::failure::Failure;
use super::shared::FetchContext;

/// Maximum number of attempts of one request.
const ATTEMPTS_MAX: u32 = 3;
/// The wait after the first attempt. Each further wait is twice as long as the one before. After a
/// 401 or 429, there is no such wait.
const RETRY_WAIT: Duration = Duration::from_millis(200);
/// The memory that is charged for parsed JSON is the size of its text times this number.
const PARSED_JSON_FACTOR: u64 = 8;

/// Maximum size of a JSON text that is parsed on the current thread, bytes.
const PARSED_INLINE_BYTES_MAX: usize = 64 << 10;

/// Sends requests to Test Manager. All requests of one client have the same deadline.
pub(super) struct Client {
    pub(super) context: Arc<FetchContext>,
    requests: Arc<RunRequests>,
    deadline: Instant,
    answer_bytes_max: u64,
}

impl Client {
    pub(super) fn new(
        context: Arc<FetchContext>,
        requests: Arc<RunRequests>,
        deadline: Instant,
        answer_bytes_max: u64,
    ) -> Self {
        Self { context, requests, deadline, answer_bytes_max }
    }

    /// Returns a client for a long search. The client's deadline leaves a quarter of the remaining
    /// time for the requests that follow the search.
    pub(super) fn client_for_search(&self) -> Result<Self, Failure> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        self.context.client(self.deadline - remaining / 4)
    }

    /// Requests the JSON at a path below the API's base URL. Each segment of the path is
    /// percent-encoded.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        let (value, charge) = self.get_charged(path, query).await?;
        self.context.keep_charge(charge);
        Ok(value)
    }

    /// Does the same as [`Self::get`], for JSON that may be dropped soon. The memory of the JSON is
    /// charged until the returned `Charge` is dropped.
    pub(super) async fn get_charged(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<(Value, Charge), Failure> {
        let url = api_url(&self.context.settings.base_url, path, query);
        let answer = self.send(url, "application/json", required_scope(path)).await?;
        let status = answer.status;
        let body = self.read_body(answer).await?;
        let charged = self.context.account()?.charge(body.len() as u64 * PARSED_JSON_FACTOR);
        let charge = charged.map_err(|error| Failure::Other(error.to_string()))?;
        let value = parse_json(&body).await;
        let value = value.ok_or_else(|| Failure::unexpected_body("JSON", status, &body))?;
        Ok((value, charge))
    }

    /// Downloads the resource at a path below the API's base URL.
    pub(super) async fn get_bytes(&self, path: &[&str]) -> Result<Bytes, Failure> {
        let url = api_url(&self.context.settings.base_url, path, &[]);
        let answer = self.send(url, "*/*", required_scope(path)).await?;
        self.read_body(answer).await
    }

    /// Fetches a token, unless a valid token is stored. Only the first call for a context does
    /// this; later calls return the same result, even a failure.
    pub(super) async fn ensure_token(&self) -> Result<(), Failure> {
        let origin = Origin::of(&self.context.settings.base_url);
        let origin = origin.map_err(|error| Failure::Token(error.to_string()))?;
        let fetching = async || {
            let mut result = self.requests.fetch_token(&origin).await;
            if matches!(&result, Err(error) if is_temporary_token_error(error))
                && self.wait_for_retry(1).await
            {
                result = self.requests.fetch_token(&origin).await;
            }
            result.map_err(|error| match Instant::now() >= self.deadline {
                true => self.token_timeout_failure(),
                false => Failure::from(error),
            })
        };
        self.context.token.get_or_init(fetching).await.clone()
    }

    fn token_timeout_failure(&self) -> Failure {
        let url = &self.context.settings.token_url;
        Failure::Token(format!(
            "there is no token: {url} did not answer in time; check this token URL"
        ))
    }

    /// Sends a read request. Repeats it after a 429, a server error or a temporary network error,
    /// and once after a 401.
    async fn send(&self, url: Url, accept: &str, scope: &str) -> Result<OutboundResponse, Failure> {
        self.ensure_token().await?;
        let (mut attempt, mut was_token_refused) = (1, false);
        loop {
            self.wait_for_rate_limit().await?;
            let result = self.requests.send(build_get_request(&url, accept)).await;
            let is_last_attempt = attempt == ATTEMPTS_MAX;
            let failure = match result {
                Ok(answer) => {
                    self.context.state.rate_limit.update(
                        answer.status,
                        &answer.headers,
                        Instant::now(),
                    );
                    match answer.status {
                        200..=299 => return Ok(answer),
                        // After a 401, egress fetches a new token for the next request.
                        401 if !was_token_refused && !is_last_attempt => {
                            was_token_refused = true;
                            attempt += 1;
                            continue;
                        }
                        429 if !is_last_attempt => {
                            attempt += 1;
                            continue;
                        }
                        status => {
                            let body = self.read_body(answer).await.unwrap_or_default();
                            let failure = Failure::from_status(status, &body, scope);
                            if is_last_attempt || status < 500 {
                                return Err(failure);
                            }
                            failure
                        }
                    }
                }
                Err(error) if is_last_attempt || !is_temporary_error(&error) => {
                    return Err(self.to_failure(&error));
                }
                Err(error) => self.to_failure(&error),
            };
            if !self.wait_for_retry(attempt).await {
                return Err(failure);
            }
            attempt += 1;
        }
    }

    /// Waits until the rate limit allows another request. Fails at once if the limit allows none
    /// before the deadline.
    async fn wait_for_rate_limit(&self) -> Result<(), Failure> {
        while let Some(until) = self.context.state.rate_limit.next_request_at(Instant::now()) {
            if until >= self.deadline {
                // The seconds are rounded up to a multiple of 10: several parts of a failed test
                // then usually have exactly the same reason, and are merged into one gap.
                let seconds = ((until - Instant::now()).as_secs() + 1).next_multiple_of(10);
                return Err(Failure::Other(format!(
                    "Test Manager's rate limit allows no request for {seconds} s, which is longer \
                     than this event may wait"
                )));
            }
            sleep_until(until).await;
        }
        Ok(())
    }

    /// Waits before the next attempt. Returns false at once if the deadline is before the end of
    /// the wait.
    async fn wait_for_retry(&self, attempt: u32) -> bool {
        let wait = RETRY_WAIT * 2_u32.saturating_pow(attempt.saturating_sub(1));
        if Instant::now() + wait >= self.deadline {
            return false;
        }
        sleep(wait).await;
        true
    }

    /// Reads the body into memory. The memory stays charged until the body is dropped.
    async fn read_body(&self, answer: OutboundResponse) -> Result<Bytes, Failure> {
        let account = self.context.account()?;
        let (body, charge) =
            answer.body.into_memory(&account).await.map_err(|e| self.to_failure(&e))?;
        Ok(charge.bind_to_body(body.into()))
    }

    /// Converts an error of a request into the reason why a part of the data is missing.
    fn to_failure(&self, error: &HttpError) -> Failure {
        if let HttpError::NotGranted(origin) = error {
            return Failure::Other(format!(
                "Test Manager redirects to {origin}, which is not an allowed origin; if downloads come \
                 from there, add it with `jackfield connections edit NAME --test-manager-asset-origin \
                 {origin}`"
            ));
        }
        if Instant::now() >= self.deadline {
            return Failure::Other("Test Manager did not answer in time".to_owned());
        }
        match error {
            HttpError::Limit(text) if text.starts_with("`limits.response_body_bytes`") => {
                Failure::TooLarge(format!("it has more than {} bytes", self.answer_bytes_max))
            }
            error => {
                let (_, text) = error.clone().into_parts();
                Failure::Other(format!("Test Manager: {text}"))
            }
        }
    }
}

/// Parses JSON. A long text is parsed on a blocking thread, where it cannot delay other tasks.
async fn parse_json(body: &Bytes) -> Option<Value> {
    if body.len() <= PARSED_INLINE_BYTES_MAX {
        return serde_json::from_slice(body).ok();
    }
    let body = body.clone();
    let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&body).ok());
    parsed.await.ok().flatten()
}

fn is_temporary_error(error: &HttpError) -> bool {
    matches!(error, HttpError::Unreachable(_) | HttpError::Interrupted(_))
}

fn is_temporary_token_error(error: &TokenError) -> bool {
    matches!(error, TokenError::Other(error) if is_temporary_error(error))
}

fn build_get_request(url: &Url, accept: &str) -> OutboundRequest {
    OutboundRequest {
        method: Method::GET,
        effect: None,
        url: url.as_str().to_owned(),
        headers: vec![("accept".to_owned(), accept.to_owned())],
        body: Bytes::new(),
    }
}
