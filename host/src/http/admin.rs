//! The admin API, `/api/v1`: reads requests, calls the modules that handle them, and answers with
//! the types of `api`.
//!
//! Every request needs an account. This module never answers with a stored secret.

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod choices;
pub(crate) mod connections;
pub(crate) mod connectors;
pub(crate) mod defects;
pub(crate) mod etag;
pub(crate) mod events;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod tokens;
pub(crate) mod upload;

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Bytes, to_bytes};
use axum::extract::{self, FromRequest, FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::api::{
    ConnectorDifference, PAGE_ROWS, PAGE_ROWS_MAX, ServerVersion, Status, describe_without_values,
};
use crate::domain::{Account, ConnectionId, ConnectionRecord, ConnectorName};
use crate::json::Json;
use crate::plugins;

use super::problem::Problem;
use super::{AppState, health};

/// Maximum size of the body of a request to the admin API, bytes. Does not apply to uploads.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Maximum time until the body of a request to the admin API has arrived. Does not apply to
/// uploads.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers `GET /status`.
pub(crate) async fn status(
    State(app): State<Arc<AppState>>,
    Extension(account): Extension<Account>,
) -> Json<Status> {
    let config = app.services.config.current();
    let changed_keys = app.services.config.keys_that_need_restart();
    // An account that is limited to some connections may not see the names of other servers.
    let differences = match account.connections {
        None => {
            health::wait_for_store(app.services.plugins.differences()).await.unwrap_or_default()
        }
        Some(_) => Vec::new(),
    };
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tasks: Handle::current().metrics().num_alive_tasks(),
        needs_restart: changed_keys.into_iter().map(str::to_owned).collect(),
        plugins: app.plugins_folder(),
        data: std::path::absolute(&config.data).unwrap_or_else(|_| config.data.clone()),
        connector_differences: differences.into_iter().map(to_api_difference).collect(),
    })
}

fn to_api_difference(difference: plugins::ConnectorDifference) -> ConnectorDifference {
    let server_version = |(server, sha256)| ServerVersion { server, sha256 };
    let servers = difference.servers.into_iter().map(server_version).collect();
    ConnectorDifference { name: difference.name, servers }
}

/// A layer that reads the whole request, and then runs its handler in a separate task, so that a
/// change is completed even if the client disconnects.
pub(crate) async fn run_to_completion(
    State(app): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let body = match timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if is_too_large(&error) => {
            return Problem::payload_too_large(BODY_BYTES_MAX / 1024).into_response();
        }
        Ok(Err(_)) | Err(_) => {
            return Problem::incomplete_body().into_response();
        }
    };
    let request = Request::from_parts(head, body.into());
    let response = complete_in_task(&app, async move { next.run(request).await }).await;
    response.unwrap_or_else(IntoResponse::into_response)
}

/// Runs `work` in a separate task, so that the work is completed even if the client disconnects.
async fn complete_in_task<T: Send + 'static>(
    app: &AppState,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    app.services.tasks.spawn(work).await.map_err(|error| {
        tracing::error!(%error, "a handler of the admin API panicked");
        Problem::internal()
    })
}

/// Extracts a JSON body, whatever its content type is. An empty body counts as `{}`.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|_| Problem::incomplete_body())?;
        let text = if bytes.trim_ascii().is_empty() { b"{}" } else { &bytes[..] };
        serde_json::from_slice(text).map(Self).map_err(|error| {
            Problem::bad_request(format!(
                "the body cannot be read: {}",
                describe_without_values(&error.to_string())
            ))
        })
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    error.source().is_some_and(|cause| cause.is::<LengthLimitError>())
}

/// Extracts the first parameter of a path, which is an id or a name.
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parameters = extract::Path::<Vec<(String, String)>>::from_request_parts(parts, state);
        let extract::Path(parameters) = parameters.await.map_err(|_| {
            Problem::bad_request("the percent-encoded path is not UTF-8: encode it as UTF-8")
        })?;
        let first = parameters.into_iter().next().map(|(_, value)| value);
        first.map(Self).ok_or_else(|| Problem::not_found("page"))
    }
}

/// Extracts the parameters of a query.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(params) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::bad_request(rejection.body_text()))?;
        Ok(Self(params))
    }
}

fn connection_id(app: &AppState, id_or_name: &str) -> Result<ConnectionId, Problem> {
    Ok(stored_connection(app, id_or_name)?.connection.id)
}

fn stored_connection(app: &AppState, id_or_name: &str) -> Result<ConnectionRecord, Problem> {
    let found = app.services.connections.find(id_or_name);
    found.ok_or_else(|| Problem::no_such("connection", id_or_name))
}

/// Like [`connection_id`], but refuses a connection that the account may not see.
fn visible_connection_id(
    app: &AppState,
    account: &Account,
    id_or_name: &str,
) -> Result<ConnectionId, Problem> {
    let id = connection_id(app, id_or_name)?;
    if account.sees(id) { Ok(id) } else { Err(Problem::no_such("connection", id_or_name)) }
}

/// Parses the name of a connector in a path. Refuses a connector that this server does not have.
fn connector_name(app: &AppState, name: &str) -> Result<ConnectorName, Problem> {
    let is_known = app.services.plugins.list().iter().any(|info| info.name == name);
    let parsed = name.parse().ok().filter(|_| is_known);
    parsed.ok_or_else(|| Problem::no_such("connector", name))
}

fn connection_names(app: &AppState) -> HashMap<ConnectionId, String> {
    let records = app.services.connections.list().into_iter();
    records.map(|record| (record.connection.id, record.connection.name)).collect()
}

fn page_size(limit: Option<u32>) -> Result<u32, Problem> {
    match limit {
        None => Ok(PAGE_ROWS),
        Some(limit) if (1..=PAGE_ROWS_MAX).contains(&limit) => Ok(limit),
        Some(limit) => Err(Problem::bad_request(format!(
            "`limit` must be 1 to {PAGE_ROWS_MAX}, found {limit}"
        ))),
    }
}

/// Truncates `rows` to the size of a page. The caller requests one more row than a page has. If
/// `rows` contains this row, the function also returns the cursor of the next page.
fn truncate_to_page<T>(
    mut rows: Vec<T>,
    size: u32,
    id: impl Fn(&T) -> Uuid,
) -> (Vec<T>, Option<Uuid>) {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let has_next_page = rows.len() > size;
    rows.truncate(size);
    let next = if has_next_page { rows.last().map(id) } else { None };
    (rows, next)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_page_has_a_cursor_only_if_more_rows_follow() {
        let id = |n: &u32| Uuid::from_u128(u128::from(*n));
        assert_eq!(truncate_to_page(vec![3, 2, 1], 2, id), (vec![3, 2], Some(Uuid::from_u128(2))));
        assert_eq!(truncate_to_page(vec![2, 1], 2, id), (vec![2, 1], None));
        assert_eq!(truncate_to_page(Vec::new(), 2, id), (Vec::new(), None));
    }

    #[test]
    fn the_number_of_rows_in_a_page_is_limited() {
        assert_eq!(page_size(None), Ok(PAGE_ROWS));
        assert_eq!(page_size(Some(200)), Ok(200));
        assert!(page_size(Some(0)).is_err() && page_size(Some(201)).is_err());
    }

    #[tokio::test]
    async fn the_error_for_an_invalid_body_does_not_repeat_its_values() {
        async fn read(body: impl Into<axum::body::Body>) -> Result<Value, Problem> {
            let request = Request::new(body.into());
            Body::<Value>::from_request(request, &()).await.map(|body| body.0)
        }
        assert_eq!(read("").await.unwrap(), serde_json::json!({}));
        assert_eq!(read("{\"a\":1}").await.unwrap()["a"], 1);
        assert_eq!(read("{").await.unwrap_err().status(), StatusCode::BAD_REQUEST);
        let request = Request::new("\"hunter2\"".into());
        let refused = Body::<Vec<u8>>::from_request(request, &()).await.err().unwrap();
        let refused = format!("{refused:?}");
        assert!(refused.contains("a value has the wrong type"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
