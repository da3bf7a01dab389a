//! Paths below `/simulator` for tests and for authors of connectors. The real Test Manager does not
//! have these paths.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json::Json;

use super::api::{ROUTES, Route};
use super::data::{DataSet, ProjectData};
use super::dto::TestCaseLog;
use super::faults::{Fault, Faults};
use super::{Simulator, TENANT, pages};

const FAULTS_MAX: usize = 100;

/// Each fault is a text such as `slow=500`, as on the command line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultList {
    faults: Vec<String>,
}

pub(super) fn routes() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/simulator/faults", get(list_faults).post(set_faults))
        .route("/simulator/requests", get(list_requests).delete(clear_requests))
        .route("/simulator/api", get(list_paths))
        .layer(axum::middleware::from_fn(pages::require_same_origin))
}

async fn list_faults(State(simulator): State<Arc<Simulator>>) -> Json<FaultList> {
    Json(FaultList { faults: simulator.state().faults.to_strings() })
}

/// Replaces the active faults.
async fn set_faults(
    State(simulator): State<Arc<Simulator>>,
    Json(list): Json<FaultList>,
) -> Response {
    if list.faults.len() > FAULTS_MAX {
        let error = format!("at most {FAULTS_MAX} faults can be set");
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    }
    let parsed = list.faults.iter().map(|text| text.parse()).collect::<Result<Vec<Fault>, _>>();
    match parsed {
        Ok(parsed) => {
            simulator.state().faults = Faults::new(&parsed);
            list_faults(State(simulator)).await.into_response()
        }
        Err(error) => {
            let error = error.to_string();
            (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
        }
    }
}

/// Answers with the last requests to the API and the token endpoint, the oldest first.
async fn list_requests(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    Json(json!({ "requests": simulator.state().requests }))
}

async fn clear_requests(State(simulator): State<Arc<Simulator>>) -> StatusCode {
    simulator.state().requests.clear();
    StatusCode::NO_CONTENT
}

/// Answers with the paths of the API that the stand-in answers, and with the ids of all failed
/// logs, which many of these paths need.
async fn list_paths(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    let path = |route: &Route| {
        let Route { path, parameters, scope_family, .. } = route;
        json!({ "method": "GET", "path": path, "parameters": parameters, "scope": scope_family })
    };
    let paths: Vec<_> = ROUTES.iter().map(path).collect();
    let state = simulator.state();
    let failed_logs: Vec<_> = state
        .data_set
        .projects
        .iter()
        .flat_map(|project| failed_logs(&state.data_set, project))
        .collect();
    Json(json!({ "tenant": TENANT, "paths": paths, "failed_logs": failed_logs }))
}

/// Returns the ids of each failed log of a project, the newest log first.
fn failed_logs(data_set: &DataSet, project: &ProjectData) -> Vec<Value> {
    let failed = project.logs.iter().rev().filter(|log| log.has_error);
    let log = |log: &TestCaseLog| {
        json!({
            "project": project.dto.id,
            "prefix": project.dto.project_prefix,
            "execution": log.test_execution_id,
            "case": log.test_case_id,
            "variation": log.variation_id,
            "log": log.id,
            "link": data_set.log_url(project, log),
        })
    };
    failed.map(log).collect()
}
