//! Entry points for the fuzz targets of `tests/fuzz`: each passes untrusted input to the private
//! code that reads it, and returns the result.
//!
//! Compiled only by cargo-fuzz (`cfg(fuzzing)`). Contains no decisions of its own, and never
//! connects to anything.

use std::error::Error;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use jiff::Timestamp;
use tokio::time::Instant;
use url::Url;

use crate::config::Webhook;
use crate::domain::{Event, EventId, EventKind, FailedTest, Limits, Origin, OutcomeCode};
use crate::egress::{
    ActiveConnection, HttpError, Outbound, OutboundRequest, check_placeholders, path_and_query,
    target, with_secrets,
};
use crate::http::{WebhookKind, WebhookRequest, classify, read, token_and_path};
use crate::manifest::{InvalidManifest, Manifest, RawManifest};
use crate::runtime::address;

/// The data that the host read from one request below `/hooks`.
#[derive(Debug)]
pub struct ReadWebhook {
    /// The part of the path where a token is expected.
    pub token: String,
    /// The project, if method and path ask for counts.
    pub project: Option<String>,
    /// The failed test, or the status and the detail of the problem.
    pub test: Result<FailedTest, (u16, String)>,
    /// The event, of the kind that stores the most data of a request.
    pub event: Event,
}

/// Reads a webhook request, and builds its event as for an unrecognised path.
pub async fn webhook(request: Request<Vec<u8>>, config: &Webhook) -> ReadWebhook {
    let (parts, body) = request.into_parts();
    let (token, path) = token_and_path(parts.uri.path());
    let project = match classify(&parts.method, &path, config) {
        WebhookKind::Kpis(project) => Some(project),
        _ => None,
    };
    let body = read(&parts.headers, Body::from(body)).await;
    let (id, token_and_path) = (EventId::fresh(), (token.clone(), path));
    let (received_at, started) = (Timestamp::UNIX_EPOCH, Instant::now());
    let request = WebhookRequest::new(id, token_and_path, parts, body, received_at, started);
    let test = request.body.failed_test(&request.headers);
    let test = test.map_err(|problem| (problem.status().as_u16(), problem.outcome().detail));
    let outcome = OutcomeCode::NotFound.into();
    let event = request.event(EventKind::Unrecognised, None, None, outcome, None);
    let event = request.with_headers_and_body(event, None);
    ReadWebhook { token, project, test, event }
}

/// A guest's request as the host would send it.
#[derive(Debug)]
pub struct SentRequest {
    /// Its method.
    pub method: Method,
    /// Where it is sent.
    pub origin: Origin,
    /// Its URL.
    pub url: Url,
    /// Its path and query.
    pub path: Uri,
    /// Its headers, without those that the HTTP client adds.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A guest's authorized request, before and after the secrets were inserted.
#[derive(Debug)]
pub struct AuthorizedRequest {
    /// The request as the guest may see it.
    pub without_secrets: SentRequest,
    /// The request with the connection's secrets.
    pub with_secrets: SentRequest,
}

/// The path of the setting below which [`guest_request`] puts a request that is only a path.
pub const BASE_PATH: &str = "/base";

/// Authorizes a guest's request. If `redirect` (status and location) is given, authorizes the
/// request that follows the redirect.
///
/// # Errors
/// Why it is refused.
pub fn guest_request(
    active: &ActiveConnection,
    method: Method,
    url: &str,
    headers: Vec<(String, String)>,
    body: Bytes,
    redirect: Option<(u16, &str)>,
) -> Result<AuthorizedRequest, Box<dyn Error>> {
    let origins = active.connection.grants.origins.iter();
    let bases = origins.map(|origin| (origin.to_string(), format!("{origin}{BASE_PATH}/")));
    let url = address(url, None, &[], &bases.collect())?;
    let request = OutboundRequest { method, effect: None, url, headers, body };
    let (connection, limits) = (&active.connection, Limits::default());
    let target = target(&request.url, connection)?;
    let mut outbound = Outbound::check(request, target, connection, &limits, &[])?;
    check_placeholders(&outbound, active)?;
    if let Some((status, location)) = redirect {
        outbound = outbound.redirected(status, location, connection)?;
        check_placeholders(&outbound, active)?;
    }
    let with_secrets = with_secrets(outbound.clone(), active, None, &limits)?;
    Ok(AuthorizedRequest {
        without_secrets: SentRequest::of(outbound)?,
        with_secrets: SentRequest::of(with_secrets)?,
    })
}

impl SentRequest {
    fn of(outbound: Outbound) -> Result<Self, HttpError> {
        let path = path_and_query(&outbound.url)?;
        let Outbound { method, origin, url, headers, body, .. } = outbound;
        Ok(Self { method, origin, url, path, headers, body })
    }
}

/// The placeholder that the guest sees instead of a secret, if the secret has one.
#[must_use]
pub fn placeholder<'a>(active: &'a ActiveConnection, secret: &str) -> Option<&'a str> {
    active.placeholder(secret)
}

/// Reads a manifest with this settings schema.
///
/// # Errors
/// Why the manifest is not valid.
pub fn manifest(settings: &str) -> Result<Manifest, InvalidManifest> {
    Manifest::read(&RawManifest {
        name: "fuzzed".to_owned(),
        version: "1.0.0".to_owned(),
        summary: String::new(),
        homepage: None,
        settings: settings.to_owned(),
        index_delay_seconds: Some(0),
    })
}
