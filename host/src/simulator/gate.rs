//! Checks each request to the API and to the token endpoint: faults, rate limits, token and scopes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::json;

use crate::domain::shortened;
use crate::json::Json;

use super::api::{ApiRequest, ROUTES, Reply, Route};
use super::faults::FaultName;
use super::tokens::Access;
use super::{ORGANIZATION, Simulator, TENANT};

const HANG_TIME: Duration = Duration::from_secs(600);
/// Maximum number of stored requests.
const RECEIVED_REQUESTS_MAX: usize = 1000;
/// The length to which a stored path is shortened, bytes.
const RECEIVED_PATH_BYTES_MAX: usize = 500;
/// The size of one chunk of a large file, bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// A received request, for `GET /simulator/requests`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ReceivedRequest {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: u16,
}

/// Returns the routes of the API and of the token endpoint.
pub(super) fn routes(simulator: &Arc<Simulator>) -> Router<Arc<Simulator>> {
    let mut routes = Router::new();
    for route in &ROUTES {
        let handler = move |State(simulator): State<Arc<Simulator>>,
                            Path(path): Path<HashMap<String, String>>,
                            RawQuery(query): RawQuery,
                            headers: HeaderMap| async move {
            answer_api_request(route, &simulator, path, &query.unwrap_or_default(), &headers)
        };
        routes = routes.route(&format!("{TENANT}/testmanager_{}", route.path), get(handler));
    }
    routes = routes
        .route(&format!("{ORGANIZATION}/identity_/connect/token"), post(answer_token_request));
    routes.layer(middleware::from_fn_with_state(Arc::clone(simulator), check_and_record_request))
}

/// Applies the rate limits and some faults. Records the request.
async fn check_and_record_request(
    State(simulator): State<Arc<Simulator>>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let delay = simulator.state().faults.value(FaultName::Slow);
    tokio::time::sleep(Duration::from_millis(delay.unwrap_or(0))).await;
    let is_api = path.starts_with(TENANT);
    let response = match refusal_without_token_check(&simulator, &method, is_api) {
        Some(response) => response,
        None => next.run(request).await,
    };
    let path = shortened(&path, RECEIVED_PATH_BYTES_MAX);
    let mut state = simulator.state();
    if state.requests.len() >= RECEIVED_REQUESTS_MAX {
        state.requests.pop_front();
    }
    state.requests.push_back(ReceivedRequest { method, path, status: response.status().as_u16() });
    response
}

/// Returns a refusal by a fault or a rate limit, which does not depend on the token.
fn refusal_without_token_check(
    simulator: &Simulator,
    method: &str,
    is_api: bool,
) -> Option<Response> {
    let mut state = simulator.state();
    let page = if is_api { FaultName::Html403 } else { FaultName::TokenHtml403 };
    if state.faults.is_set(page) {
        return Some(firewall_page());
    }
    if !is_api {
        return None;
    }
    let limit = state.faults.value(FaultName::RateLimit);
    let window_s = state.faults.value(FaultName::RateWindow);
    if let Err(exceeded) = state.rates.count_request(method, Instant::now(), limit, window_s) {
        let policy = format!("{};w={}", exceeded.limit, exceeded.window_s);
        let headers = [
            ("ratelimit-limit", exceeded.limit.to_string()),
            ("ratelimit-remaining", "0".to_owned()),
            ("ratelimit-policy", policy),
            ("ratelimit-reset", exceeded.reset_s.to_string()),
        ];
        return Some((StatusCode::TOO_MANY_REQUESTS, headers).into_response());
    }
    state.faults.use_once(FaultName::ServerErrors).then(|| {
        let page = "<html><head><title>503 Service Temporarily Unavailable</title></head></html>";
        (StatusCode::SERVICE_UNAVAILABLE, [(CONTENT_TYPE, "text/html")], page).into_response()
    })
}

fn firewall_page() -> Response {
    let page = "<!DOCTYPE html><html><head><title>Access denied</title></head>\
                <body><h1>Access denied</h1><p>Error 1010 <script>track()</script></body></html>";
    let headers = [(CONTENT_TYPE, "text/html; charset=UTF-8")];
    (StatusCode::FORBIDDEN, headers, page).into_response()
}

async fn answer_token_request(State(simulator): State<Arc<Simulator>>, form: String) -> Response {
    if simulator.state().faults.is_set(FaultName::TokenHangs) {
        tokio::time::sleep(HANG_TIME).await;
        return StatusCode::GATEWAY_TIMEOUT.into_response();
    }
    let state = &mut *simulator.state();
    match state.tokens.issue_token(&form, Instant::now(), &state.faults) {
        Ok(token) => Json(token).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
    }
}

fn answer_api_request(
    route: &Route,
    simulator: &Simulator,
    path: HashMap<String, String>,
    query: &str,
    headers: &HeaderMap,
) -> Response {
    let state = &mut *simulator.state();
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match state.tokens.check_access(header, route.scope_family, Instant::now(), &mut state.faults) {
        Access::Unauthorized => {
            let challenge = [(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
            return (StatusCode::UNAUTHORIZED, challenge).into_response();
        }
        Access::Forbidden => return StatusCode::FORBIDDEN.into_response(),
        Access::Permitted => {}
    }
    let data = (&state.data_set, &state.faults);
    let files = (&state.defects, simulator.addresses.files_url.as_str());
    let Some(request) = ApiRequest::new(route, data, files, path, query) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match (route.answer)(&request) {
        Some(reply) => to_response(reply),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn to_response(reply: Reply) -> Response {
    match reply {
        Reply::Json(value) => Json(value).into_response(),
        Reply::Redirect(to) => (StatusCode::FOUND, [(LOCATION, to)]).into_response(),
        Reply::File(file) => {
            let headers = [
                (CONTENT_TYPE, file.content_type),
                (CONTENT_DISPOSITION, content_disposition(&file.name)),
            ];
            (headers, file.bytes).into_response()
        }
        Reply::LargeFile(name, bytes) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream".to_owned()),
                (CONTENT_LENGTH, bytes.to_string()),
                (CONTENT_DISPOSITION, content_disposition(&name)),
            ];
            (headers, large_body(bytes)).into_response()
        }
    }
}

fn content_disposition(name: &str) -> String {
    format!("attachment; filename*=UTF-8''{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

/// Generates this number of bytes in chunks.
fn large_body(bytes: u64) -> Body {
    let chunk = Bytes::from_static(&[b'x'; CHUNK_BYTES]);
    let chunks = stream::unfold((bytes, chunk), async |(left, chunk)| {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let next = chunk.slice(..length);
        let left = left - length as u64;
        (length > 0).then_some((Ok::<_, std::convert::Infallible>(next), (left, chunk)))
    });
    Body::from_stream(chunks)
}
