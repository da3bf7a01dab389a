//! Implements OAuth 2.0 client credentials: fetches the access tokens of a connection, and stores
//! the newest tokens in memory. Never writes a token to a file.
//!
//! The grant of a secret includes its token endpoint, but only for the host: the grant does not
//! allow the guest to reach the endpoint. The record of a run also contains the requests for
//! tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use url::Url;
use url::form_urlencoded::{self, byte_serialize};

use crate::domain::{Effect, Origin, SecretPlace, TEST_MANAGER_SECRET, printable, shortened};
use crate::secret::Secret;
use crate::transport::basic_authorization;

use super::answer::{Answer, AnswerMemory};
use super::authorize::CheckedRequest;
use super::exchange::{ExchangeError, build_request, exchange_with_tracker};
use super::{ActiveConnection, HttpError, RunRequests};

/// The lifetime of a token if the response has no valid `expires_in`.
const DEFAULT_LIFETIME_S: u64 = 300;
/// The host uses a token at most this long.
const LIFETIME_MAX_S: u64 = 24 * 3600;
/// Before a request, the host replaces a token that expires in less than this time. A token with a
/// lifetime of less than twice this time is used for half of its lifetime instead.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);
/// Maximum size of the body of a token endpoint's response, bytes.
const RESPONSE_BYTES_MAX: u64 = 64 * 1024;
/// An error message repeats at most this many bytes of each text in the error of a token endpoint.
const REFUSAL_TEXT_BYTES_MAX: usize = 200;
/// Maximum number of stored tokens for one secret. Replaced tokens are stored so that they are
/// redacted from responses: a tracker may still accept a replaced token, and echo it.
const TOKENS_KEPT_MAX: usize = 3;

/// The fetched tokens, by the name of their client secret. The newest token is the last. The map is
/// locked while a token is fetched, so that parallel requests fetch only one token.
pub(super) type Tokens = Mutex<BTreeMap<String, Vec<Token>>>;

pub(super) struct Token {
    value: Secret,
    fetched_at: Instant,
    use_until: Instant,
}

impl Token {
    /// Returns a fixed token for requests that a recording answers. A recording contains no token.
    fn for_replay() -> Self {
        let now = Instant::now();
        let value = Secret::new("token-of-a-recording".to_owned());
        Self { value, fetched_at: now, use_until: now + Duration::from_secs(DEFAULT_LIFETIME_S) }
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum TokenError {
    /// The endpoint accepts the client, but does not grant a requested scope.
    #[error("{0}")]
    Scope(String),
    #[error(transparent)]
    Other(#[from] HttpError),
}

impl From<TokenError> for HttpError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Scope(text) => Self::Denied(text),
            TokenError::Other(error) => error,
        }
    }
}

struct OAuthClient<'a> {
    secret_name: &'a str,
    secret: &'a Secret,
    token_url: &'a Url,
    client_id: &'a str,
    scope: Option<&'a str>,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    /// The lifetime in seconds. Some endpoints write the number as a string.
    expires_in: Option<Value>,
}

impl TokenResponse {
    fn lifetime(&self) -> Duration {
        let seconds = self.expires_in.as_ref().and_then(|value| match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        });
        Duration::from_secs(seconds.unwrap_or(DEFAULT_LIFETIME_S).min(LIFETIME_MAX_S))
    }
}

/// The error of a token endpoint (RFC 6749, section 5.2). Its texts are untrusted input.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenRefusal {
    error: Option<String>,
    error_description: Option<String>,
    /// Whether the answer looks like a web page, for example of a firewall in front of the identity
    /// server.
    #[serde(skip)]
    is_web_page: bool,
}

impl TokenRefusal {
    fn from_answer(answer: &Answer) -> Self {
        let body = answer.body.bytes_in_memory();
        let is_web_page = body.trim_ascii_start().starts_with(b"<");
        serde_json::from_slice(body).unwrap_or(Self { is_web_page, ..Self::default() })
    }

    fn scope_error(&self, client: &OAuthClient<'_>, origin: &Origin) -> Option<String> {
        let scope = client.scope.filter(|_| self.error.as_deref() == Some("invalid_scope"))?;
        Some(format!(
            "{origin} refused the token for the client {}: it does not grant one of these scopes \
             (invalid_scope): {scope}; grant all of them to the client, or request fewer scopes",
            client.client_id
        ))
    }
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_web_page {
            f.write_str(" with a web page")?;
        }
        let texts = self.error.iter().chain(&self.error_description);
        for text in texts {
            write!(f, ", {}", printable(&shortened(text, REFUSAL_TEXT_BYTES_MAX)))?;
        }
        Ok(())
    }
}

/// Returns the token for requests to this origin, or `None` if this origin has no OAuth client with
/// a secret.
pub(super) async fn token_for_origin(
    requests: &RunRequests,
    origin: &Origin,
) -> Result<Option<Secret>, TokenError> {
    let Some(client) = oauth_client_for(&requests.active, origin) else { return Ok(None) };
    let credentials = &requests.active.credentials;
    let mut tokens = timeout_at(requests.request_deadline, credentials.tokens.lock())
        .await
        .map_err(|_| token_deadline_error(client.token_url))?;
    let newest = tokens.get(client.secret_name).and_then(|tokens| tokens.last());
    if let Some(token) = newest.filter(|token| token.use_until > Instant::now()) {
        return Ok(Some(token.value.clone()));
    }
    let token = fetch_token(requests, &client).await?;
    let value = token.value.clone();
    let stored_tokens = tokens.entry(client.secret_name.to_owned()).or_default();
    stored_tokens.push(token);
    if stored_tokens.len() > TOKENS_KEPT_MAX {
        stored_tokens.remove(0);
    }
    credentials.redact_tokens(tokens.values().flatten().map(|token| &token.value));
    Ok(Some(value))
}

/// After status 401, makes the next request fetch a new token. Does nothing if the stored token was
/// fetched after `token_obtained_at`, the time at which the refused request got its token.
pub(super) async fn expire_refused_token(
    requests: &RunRequests,
    origin: &Origin,
    status: u16,
    token_obtained_at: Instant,
) {
    if status != 401 {
        return;
    }
    let Some(client) = oauth_client_for(&requests.active, origin) else { return };
    let locking = requests.active.credentials.tokens.lock();
    let Ok(mut tokens) = timeout_at(requests.request_deadline, locking).await else { return };
    let newest = tokens.get_mut(client.secret_name).and_then(|tokens| tokens.last_mut());
    if let Some(token) = newest.filter(|token| token.fetched_at <= token_obtained_at) {
        token.use_until = token_obtained_at;
    }
}

fn oauth_client_for<'a>(active: &'a ActiveConnection, origin: &Origin) -> Option<OAuthClient<'a>> {
    active.connection.grants.secrets.iter().find_map(|(name, grant)| {
        let SecretPlace::ClientCredentials { token_url, client_id, scope } = &grant.place else {
            return None;
        };
        if grant.origin != *origin {
            return None;
        }
        let secret = active.credentials.secrets.get(name)?;
        Some(OAuthClient {
            secret_name: name,
            secret,
            token_url,
            client_id,
            scope: scope.as_deref(),
        })
    })
}

/// In a replay, returns a fixed token.
async fn fetch_token(
    requests: &RunRequests,
    client: &OAuthClient<'_>,
) -> Result<Token, TokenError> {
    let outbound = token_request(client)?;
    if requests.is_replay() {
        return Ok(Token::for_replay());
    }
    let mut call = requests.record.begin_call(&outbound.method, outbound.effect)?;
    call.record_target(&outbound.origin, &outbound.url, outbound.body.len());
    let result = send_token_request(requests, &outbound).await;
    call.record_result(&result);
    let answer = result?;
    let refusal = |why: String| {
        HttpError::Denied(format!(
            "no OAuth token from {} for the client {}: {why}; check the token URL, the \
             client id and its secret",
            outbound.origin, client.client_id
        ))
    };
    if answer.status != 200 {
        let error = TokenRefusal::from_answer(&answer);
        return Err(match error.scope_error(client, &outbound.origin) {
            Some(text) => TokenError::Scope(text),
            None => refusal(format!("it answered {}{error}", answer.status)).into(),
        });
    }
    let response: TokenResponse = serde_json::from_slice(answer.body.bytes_in_memory())
        .map_err(|_| refusal("the response has no `access_token`".to_owned()))?;
    let lifetime = response.lifetime();
    let value = Secret::new(response.access_token).checked();
    let value = value.map_err(|error| refusal(format!("the token cannot be used: {error}")))?;
    let fetched_at = Instant::now();
    let use_until = fetched_at + lifetime.saturating_sub(EXPIRY_MARGIN).max(lifetime / 2);
    Ok(Token { value, fetched_at, use_until })
}

/// Sends a token request on a new HTTP connection that is not kept, because tokens are fetched
/// rarely.
async fn send_token_request(
    requests: &RunRequests,
    outbound: &CheckedRequest,
) -> Result<Answer, HttpError> {
    loop {
        let memory = AnswerMemory::reserve(requests, RESPONSE_BYTES_MAX)?;
        let mut connection = requests.connect(&outbound.origin).await?;
        let request = build_request(outbound, &connection)?;
        match exchange_with_tracker(requests, &mut connection, request, memory).await {
            Err(ExchangeError::DeadlineExceeded) => {
                return Err(token_deadline_error(&outbound.url));
            }
            // The next connection uses HTTP/1.1, where this error cannot occur, so the loop ends.
            Err(ExchangeError::Http1Required(_)) => {
                requests.active.pool.require_http1(&outbound.origin);
            }
            result => return Ok(result?),
        }
    }
}

fn token_deadline_error(token_url: &Url) -> HttpError {
    let endpoint = token_url.origin().ascii_serialization();
    let why = format!(
        "{endpoint} returned no OAuth token before the deadline of the run's requests \
         (`limits.run_ms`) or the shutdown of this server; the request that needs the token was \
         not sent"
    );
    HttpError::Unreachable(why)
}

/// Builds the request of RFC 6749, section 4.4.2. Encodes the client id and the secret as section
/// 2.3.1 demands.
fn token_request(client: &OAuthClient<'_>) -> Result<CheckedRequest, HttpError> {
    let invalid = |why: String| {
        HttpError::Invalid(format!("the OAuth token URL or client id cannot be used: {why}"))
    };
    let origin = Origin::of(client.token_url).map_err(|error| invalid(error.to_string()))?;
    let mut headers = HeaderMap::new();
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.append_pair("grant_type", "client_credentials");
    if client.secret_name == TEST_MANAGER_SECRET {
        // The documentation of Test Manager's identity server sends these parameters in the form,
        // although the RFC prefers the header.
        body.append_pair("client_id", client.client_id);
        body.append_pair("client_secret", client.secret.reveal());
    } else {
        let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let authorization =
            basic_authorization(Some(&encode(client.client_id)), &encode(client.secret.reveal()));
        let mut authorization =
            HeaderValue::from_str(&authorization).map_err(|error| invalid(error.to_string()))?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
    }
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form);
    if let Some(scope) = client.scope {
        body.append_pair("scope", scope);
    }
    Ok(CheckedRequest {
        method: Method::POST,
        effect: Effect::Prepare,
        origin,
        url: client.token_url.clone(),
        headers,
        body: Bytes::from(body.finish()),
        traceparent: None,
    })
}
