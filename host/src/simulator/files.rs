//! The second origin of the stand-in, for redirected downloads of screenshots. Like a cloud
//! storage, it requires a parameter for a signature in the URL, and refuses a request that also has
//! a token.

use std::collections::HashMap;

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use uuid::Uuid;

use super::png;

pub(super) fn routes() -> Router {
    Router::new().route("/screenshots/{id}", get(download_screenshot))
}

async fn download_screenshot(
    Path(id): Path<Uuid>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(AUTHORIZATION) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    if !query.contains_key("sig") {
        return StatusCode::FORBIDDEN.into_response();
    }
    ([(CONTENT_TYPE, "image/png")], png::screenshot(id.as_u128())).into_response()
}
