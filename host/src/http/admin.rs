//! The admin API, `/api/v1`: reads requests, asks `dispatch` or the store, words values as JSON.
//!
//! Nothing here is served without the admin token. No answer holds a secret; a webhook URL stands
//! only in the answer that made it.

mod connections;
mod connectors;
mod defects;
mod events;

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::dispatch::Dispatch;
use crate::domain::ConnectionId;

use super::AppState;
use super::auth;
use super::problem::Problem;

/// Most bytes of an admin request's body.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How long it may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Rows of a page where the request does not say.
const PAGE: u32 = 50;
/// Most rows of a page.
const PAGE_MAX: u32 = 200;

/// Everything below `/api/v1`.
pub(super) fn routes(state: &Arc<AppState>) -> Router {
    let api = Router::new()
        .merge(connections::routes())
        .merge(connectors::routes())
        .merge(events::routes())
        .merge(defects::routes())
        .route("/status", get(status))
        .fallback(async || Problem::not_found("address in the admin API"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(middleware::from_fn_with_state(Arc::clone(state), to_its_end))
        .layer(middleware::from_fn_with_state(Arc::clone(state), auth::require_admin))
        .with_state(Arc::clone(state));
    Router::new().nest("/api/v1", api)
}

/// The process itself, for who watches it: its version and how many tasks live in it.
async fn status() -> Response {
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    json(StatusCode::OK, &json!({"version": env!("CARGO_PKG_VERSION"), "tasks": tasks}))
}

/// An admin who goes away leaves nothing half-done: once a request is here whole, it is a task of its own.
async fn to_its_end(State(app): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = match timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if is_too_large(&error) => {
            return Problem::too_large(BODY_BYTES_MAX / 1024).into_response();
        }
        Ok(Err(_)) | Err(_) => {
            return Problem::bad_request("the body did not arrive whole").into_response();
        }
    };
    let request = Request::from_parts(head, body.into());
    let done = app.dispatch.spawn(async move { next.run(request).await }).await;
    done.unwrap_or_else(|error| {
        tracing::error!(%error, "a handler of the admin API failed");
        Problem::internal().into_response()
    })
}

/// JSON as an admin sends it, whatever its content type; an empty body reads as `{}`.
struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| Problem::bad_request("the body did not arrive whole"))?;
        let text = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes[..] };
        serde_json::from_slice(text).map(Self).map_err(|error| {
            Problem::bad_request(format!("the body cannot be read: {}", told(&error)))
        })
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    error.source().is_some_and(|cause| cause.is::<LengthLimitError>())
}

/// What is wrong with a body. Of a value only its place is told: it may be a secret.
fn told(error: &serde_json::Error) -> String {
    let why = error.to_string();
    let repeats_a_value = why.starts_with("invalid type") || why.starts_with("invalid value");
    match why.rsplit_once(", expected ") {
        Some((_, wanted)) if repeats_a_value => format!("another value is needed: {wanted}"),
        None if repeats_a_value => "a value has another type than is needed".to_owned(),
        _ => why,
    }
}

/// A query's parameters; unknown ones are refused by their types.
struct Params<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(params) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
        Ok(Self(params))
    }
}

fn json(status: StatusCode, value: &Value) -> Response {
    (status, axum::Json(value)).into_response()
}

/// An object with one member more.
fn with(mut object: Value, name: &str, member: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), member);
    }
    object
}

/// The connection that a path or a query names, by id or by name.
fn connection_id(dispatch: &Dispatch, id_or_name: &str) -> Result<ConnectionId, Problem> {
    let found = dispatch.connection(id_or_name).ok_or_else(|| Problem::not_found("connection"))?;
    Ok(found.id)
}

/// Names of connections, which people know them by.
type ConnectionNames = HashMap<ConnectionId, String>;

fn connection_names(dispatch: &Dispatch) -> ConnectionNames {
    dispatch.connections().into_iter().map(|it| (it.id, it.name)).collect()
}

/// How many rows a page has.
fn page_size(limit: Option<u32>) -> Result<u32, Problem> {
    match limit {
        None => Ok(PAGE),
        Some(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        Some(limit) => {
            Err(Problem::bad_request(format!("`limit` is 1 to {PAGE_MAX}, found {limit}")))
        }
    }
}

/// Cuts a list that was asked for with one row too many, and says where the next page begins.
fn page<T>(mut rows: Vec<T>, size: u32, id: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = rows.len() > size;
    rows.truncate(size);
    let next = if more { rows.last().map(id) } else { None };
    (rows, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_only_where_there_is_more() {
        let id = |n: &u32| n.to_string();
        assert_eq!(page(vec![3, 2, 1], 2, id), (vec![3, 2], Some("2".to_owned())));
        assert_eq!(page(vec![2, 1], 2, id), (vec![2, 1], None));
        assert_eq!(page(Vec::new(), 2, id), (Vec::new(), None));
    }

    #[test]
    fn a_page_has_a_size_that_the_store_can_bear() {
        assert_eq!(page_size(None), Ok(PAGE));
        assert_eq!(page_size(Some(200)), Ok(200));
        assert!(page_size(Some(0)).is_err() && page_size(Some(201)).is_err());
    }

    #[tokio::test]
    async fn an_admin_s_body_is_json_of_a_bounded_size() {
        async fn read(body: impl Into<axum::body::Body>) -> Result<Value, Problem> {
            let request = Request::new(body.into());
            Body::<Value>::from_request(request, &()).await.map(|body| body.0)
        }
        assert_eq!(read("").await.unwrap(), serde_json::json!({}));
        assert_eq!(read("{\"a\":1}").await.unwrap()["a"], 1);
        assert_eq!(read("{").await.unwrap_err().status(), StatusCode::BAD_REQUEST);
        let error = serde_json::from_str::<Vec<u8>>("\"hunter2\"").unwrap_err();
        assert!(error.to_string().contains("hunter2") && !told(&error).contains("hunter2"));
        assert!(told(&error).contains("line 1"), "{}", told(&error));
    }
}
