//! Entry points for the fuzz targets in `tests/fuzz`.
//!
//! Only cargo-fuzz compiles this module (`cfg(fuzzing)`). It never opens a network connection.

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
    ActiveConnection, CheckedRequest, HttpError, OutboundRequest, check_placeholders,
    insert_secrets, parse_target, path_and_query,
};
use crate::http::{WebhookKind, WebhookRequest, classify, read, token_and_path};
use crate::manifest::{InvalidManifest, Manifest, RawManifest};
use crate::runtime::build_request_address;

/// The data that the host reads from one request below `/hooks`.
#[derive(Debug)]
pub struct ReadWebhook {
    /// The part of the path where a token is expected.
    pub token: String,
    /// The project, if the request is a Defect KPIs request.
    pub project: Option<String>,
    /// The failed test, or the HTTP status and the detail of the problem.
    pub test: Result<FailedTest, (u16, String)>,
    /// The event that the host would store if the path were not recognised. For such events, the
    /// host stores the most data.
    pub event: Event,
}

/// Reads a webhook request, and builds the event for a path that is not recognised.
pub async fn read_webhook(request: Request<Vec<u8>>, config: &Webhook) -> ReadWebhook {
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

/// A guest's request after the host's checks.
#[derive(Debug)]
pub struct SentRequest {
    /// The HTTP method.
    pub method: Method,
    /// The origin to which the request is sent.
    pub origin: Origin,
    /// The full URL.
    pub url: Url,
    /// The path and the query of the URL.
    pub path: Uri,
    /// The headers, without the headers that the HTTP client adds.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A guest's authorized request, before and after secrets were inserted.
#[derive(Debug)]
pub struct AuthorizedRequest {
    /// The request before secrets were inserted. It may contain placeholders of secrets.
    pub without_secrets: SentRequest,
    /// The request with the secrets that are granted to its origin.
    pub with_secrets: SentRequest,
}

/// The path of the base address at each granted origin. A request whose URL begins with `/` goes to
/// a path below it.
pub const BASE_PATH: &str = "/base";

/// Authorizes a guest's request and, with `redirect` (status and location), the request after this
/// redirect. Returns the last one.
///
/// # Errors
/// The reason why the request is refused.
pub fn authorize_guest_request(
    active: &ActiveConnection,
    method: Method,
    url: &str,
    headers: Vec<(String, String)>,
    body: Bytes,
    redirect: Option<(u16, &str)>,
) -> Result<AuthorizedRequest, Box<dyn Error>> {
    let origins = active.connection.grants.origins.iter();
    let bases = origins.map(|origin| (origin.to_string(), format!("{origin}{BASE_PATH}/")));
    let url = build_request_address(url, None, &[], &bases.collect())?;
    let request = OutboundRequest { method, effect: None, url, headers, body };
    let (connection, limits) = (&active.connection, Limits::default());
    let target = parse_target(&request.url, connection)?;
    let mut outbound = CheckedRequest::check(request, target, connection, &limits, &[])?;
    check_placeholders(&outbound, active)?;
    if let Some((status, location)) = redirect {
        outbound = outbound.redirected(status, location, connection)?;
        check_placeholders(&outbound, active)?;
    }
    let with_secrets = insert_secrets(outbound.clone(), active, None, &limits)?;
    Ok(AuthorizedRequest {
        without_secrets: SentRequest::from_checked(outbound)?,
        with_secrets: SentRequest::from_checked(with_secrets)?,
    })
}

impl SentRequest {
    fn from_checked(outbound: CheckedRequest) -> Result<Self, HttpError> {
        let path = path_and_query(&outbound.url)?;
        let CheckedRequest { method, origin, url, headers, body, .. } = outbound;
        Ok(Self { method, origin, url, path, headers, body })
    }
}

/// Returns the placeholder that the guest sees instead of a secret, if the secret has one.
#[must_use]
pub fn secret_placeholder<'a>(active: &'a ActiveConnection, secret: &str) -> Option<&'a str> {
    active.placeholder(secret)
}

/// Reads a manifest with this settings schema.
///
/// # Errors
/// The reason why the manifest is not valid.
pub fn read_manifest(settings: &str) -> Result<Manifest, InvalidManifest> {
    Manifest::read(&RawManifest {
        name: "fuzzed".to_owned(),
        version: "1.0.0".to_owned(),
        summary: String::new(),
        homepage: None,
        settings: settings.to_owned(),
        index_delay_seconds: Some(0),
    })
}
