//! OAuth 2.0 client credentials: fetches a connection's access tokens and keeps them while they last.
//!
//! The guest never sees the token endpoint: a person granted it with the secret, and only the host
//! speaks to it.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use url::{Url, form_urlencoded};

use crate::domain::{Effect, Limits, Origin, SecretPlace};
use crate::secret::Secret;

use super::exchange::{Answer, exchange, request_for};
use super::outbound::Outbound;
use super::secrets::basic;
use super::vault::Token;
use super::{HttpError, Session};

/// How long a token lasts whose answer does not say.
const LIFE_UNKNOWN_S: u64 = 300;
/// The longest that a token is kept, whatever its answer says.
const LIFE_MAX_S: u64 = 24 * 3600;
/// A token is fetched anew this long before it expires.
const MARGIN: Duration = Duration::from_secs(30);
/// Longest answer of a token endpoint, bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds; some endpoints write the number as a text.
    expires_in: Option<Value>,
}

impl Granted {
    fn life(&self) -> Duration {
        let seconds = self.expires_in.as_ref().and_then(|life| match life {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        });
        Duration::from_secs(seconds.unwrap_or(LIFE_UNKNOWN_S).min(LIFE_MAX_S))
    }
}

impl Session {
    /// The token that requests to this origin carry, if a client secret is granted to it.
    pub(super) async fn token(&self, origin: &Origin) -> Result<Option<Secret>, HttpError> {
        let granted = self.access.connection.grants.secrets.iter().find_map(|(name, grant)| {
            let SecretPlace::ClientCredentials { token_url, client_id, scope } = &grant.place
            else {
                return None;
            };
            let secret = self.access.vault.secret(name).filter(|_| grant.origin == *origin)?;
            Some((name, secret, token_url, client_id, scope.as_deref()))
        });
        let Some((name, secret, url, client, scope)) = granted else { return Ok(None) };
        let late = |_| HttpError::Unreachable("no token before the run's deadline".to_owned());
        let mut tokens =
            timeout_at(self.deadline, self.access.vault.tokens()).await.map_err(late)?;
        if let Some(token) = tokens.get(name, Instant::now()) {
            return Ok(Some(token));
        }
        let token = self.fetch(url, client, secret, scope).await?;
        let value = token.value.clone();
        tokens.put(name, token);
        Ok(Some(value))
    }

    /// Looks at an answer: an origin that refused its token is given another one next time.
    pub(super) async fn note_refusal(&self, origin: &Origin, status: u16, asked_at: Instant) {
        if status != 401 {
            return;
        }
        let grants = &self.access.connection.grants.secrets;
        let client = |place: &SecretPlace| matches!(place, SecretPlace::ClientCredentials { .. });
        let mut names = grants.iter().filter(|(_, it)| it.origin == *origin && client(&it.place));
        let tokens = timeout_at(self.deadline, self.access.vault.tokens());
        if let (Some((name, _)), Ok(mut tokens)) = (names.next(), tokens.await) {
            tokens.refuse(name, asked_at);
        }
    }

    async fn fetch(
        &self,
        url: &Url,
        client: &str,
        secret: &Secret,
        scope: Option<&str>,
    ) -> Result<Token, HttpError> {
        let outbound = ask(url, client, secret, scope)?;
        let call = self.record.open(&outbound.method, outbound.effect)?;
        self.aim(call, &outbound.origin, &outbound.url, outbound.body.len());
        let answer = self.noted(call, self.asked(&outbound).await)?;
        let refused = |why: String| {
            HttpError::Denied(format!("{} gave no token for {client}: {why}", outbound.origin))
        };
        if answer.status != 200 {
            return Err(refused(format!("it answered {}", answer.status)));
        }
        let granted: Granted = serde_json::from_slice(&answer.body)
            .map_err(|_| refused("its answer has no access_token".to_owned()))?;
        let life = granted.life();
        let value = Secret::new(granted.access_token).bounded();
        let value = value.map_err(|error| refused(format!("its token cannot be used: {error}")))?;
        let fetched_at = Instant::now();
        let until = fetched_at + life.saturating_sub(MARGIN).max(life / 2);
        Ok(Token { value, fetched_at, until })
    }

    /// One exchange on a connection of its own: it is needed once in many minutes.
    async fn asked(&self, outbound: &Outbound) -> Result<Answer, HttpError> {
        let limits = Limits { response_body_bytes: ANSWER_BYTES_MAX, ..self.limits };
        let mut wire = self.fresh(&outbound.origin).await?;
        let request = request_for(outbound, &wire)?;
        let answered = timeout_at(self.deadline, exchange(&mut wire, request, &limits)).await;
        let late = |_| HttpError::Unreachable("no token before the run's deadline".to_owned());
        answered.map_err(late)?.map_err(super::exchange::Fault::error)
    }
}

/// RFC 6749, 4.4.2, with the client's id and secret as its section 2.3.1 writes them.
fn ask(
    url: &Url,
    client: &str,
    secret: &Secret,
    scope: Option<&str>,
) -> Result<Outbound, HttpError> {
    let origin = Origin::of(url).map_err(|error| HttpError::Invalid(error.to_string()))?;
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let mut authorization =
        HeaderValue::from_str(&basic(Some(&encode(client)), &encode(secret.reveal())))
            .map_err(|error| HttpError::Invalid(error.to_string()))?;
    authorization.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, authorization);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form);
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.append_pair("grant_type", "client_credentials");
    if let Some(scope) = scope {
        body.append_pair("scope", scope);
    }
    let body = Bytes::from(body.finish());
    let (method, effect) = (Method::POST, Effect::Prepare);
    Ok(Outbound { method, effect, origin, url: url.clone(), headers, body })
}
