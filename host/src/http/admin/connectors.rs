//! `/api/v1/connectors`: what lies in the plugins folder and how it stands.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use crate::connector::ConnectorInfo;

use super::super::AppState;
use super::super::problem::Problem;
use super::json as answer;

/// The connectors' routes.
pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new().route("/connectors", get(list)).route("/connectors/{name}", get(show))
}

async fn list(State(app): State<Arc<AppState>>) -> Response {
    let all: Vec<_> = app.dispatch.registry().list().iter().map(shape).collect();
    answer(StatusCode::OK, &json!({"connectors": all}))
}

async fn show(
    State(app): State<Arc<AppState>>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let all = app.dispatch.registry().list();
    let found = all.iter().find(|connector| connector.name.as_str() == name);
    let found = found.ok_or_else(|| Problem::not_found("connector"))?;
    Ok(answer(StatusCode::OK, &shape(found)))
}

fn shape(connector: &ConnectorInfo) -> Value {
    let manifest = connector.manifest.as_ref();
    let offered = [("defects", connector.interfaces.defects), ("kpis", connector.interfaces.kpis)];
    let interfaces: Vec<_> =
        offered.into_iter().filter_map(|(name, is_there)| is_there.then_some(name)).collect();
    json!({
        "name": connector.name.as_str(),
        "status": connector.status.as_str(),
        "sha256": connector.sha256,
        "version": manifest.map(|manifest| manifest.version.to_string()),
        "title": manifest.map(|manifest| manifest.name.as_str()),
        "summary": manifest.map(|manifest| manifest.summary.as_str()),
        "homepage": manifest.and_then(|manifest| manifest.homepage.as_deref()),
        "interfaces": interfaces,
        "settings_schema": manifest.map(|manifest| &manifest.settings_schema),
        "settle_s": manifest.map(|manifest| manifest.settle_s),
        "error": connector.error,
        "loaded_at": connector.loaded_at.map(|at| at.to_string()),
    })
}
