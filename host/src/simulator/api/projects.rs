//! Answers requests for projects, defects and the server's version.

use serde_json::json;

use super::super::dto::TestCaseLog;
use super::{Call, Reply, one};

pub(super) fn server_info(_: &Call<'_>) -> Option<Reply> {
    one(&json!({ "version": "26.10.0", "type": "Simulated", "status": "Running" }))
}

pub(super) fn list(call: &Call<'_>) -> Option<Reply> {
    call.list(call.world.projects.iter().map(|project| &project.dto))
}

pub(super) fn by_id(call: &Call<'_>) -> Option<Reply> {
    one(&call.world.project(call.id("id")?)?.dto)
}

pub(super) fn by_prefix(call: &Call<'_>) -> Option<Reply> {
    let prefix = call.text("projectPrefix")?;
    one(&call.world.projects.iter().find(|project| project.dto.project_prefix == prefix)?.dto)
}

/// The log with the defect that the path names, if the project has one.
fn log_of_defect<'a>(call: &Call<'a>) -> Option<&'a TestCaseLog> {
    let id = call.id("id")?;
    call.project()?.logs.iter().find(|log| log.defect_id == Some(id))
}

pub(super) fn defects(call: &Call<'_>) -> Option<Reply> {
    let ids = call.project()?.logs.iter().filter_map(|log| log.defect_id);
    call.list(ids.filter_map(|id| call.defects.get(&id)))
}

pub(super) fn defect(call: &Call<'_>) -> Option<Reply> {
    one(call.defects.get(&log_of_defect(call)?.defect_id?)?)
}

pub(super) fn defect_case(call: &Call<'_>) -> Option<Reply> {
    one(&log_of_defect(call)?.test_case)
}

pub(super) fn defect_log(call: &Call<'_>) -> Option<Reply> {
    one(log_of_defect(call)?)
}

pub(super) fn test_execution_of_defect(call: &Call<'_>) -> Option<Reply> {
    one(call.project()?.execution(log_of_defect(call)?.test_execution_id)?)
}
