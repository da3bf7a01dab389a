//! Answers requests for projects, defects and the server's version.

use serde_json::json;

use super::super::dto::TestCaseLog;
use super::{ApiRequest, Reply, json_reply};

pub(super) fn server_info(_: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(&json!({ "version": "26.10.0", "type": "Simulated", "status": "Running" }))
}

pub(super) fn list_projects(request: &ApiRequest<'_>) -> Option<Reply> {
    request.list_reply(request.data_set.projects.iter().map(|project| &project.dto))
}

pub(super) fn project_by_id(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(&request.data_set.project(request.path_id("id")?)?.dto)
}

pub(super) fn project_by_prefix(request: &ApiRequest<'_>) -> Option<Reply> {
    let prefix = request.path_segment("projectPrefix")?;
    json_reply(
        &request.data_set.projects.iter().find(|project| project.dto.project_prefix == prefix)?.dto,
    )
}

fn find_log_of_defect<'a>(request: &ApiRequest<'a>) -> Option<&'a TestCaseLog> {
    let id = request.path_id("id")?;
    request.project()?.logs.iter().find(|log| log.defect_id == Some(id))
}

pub(super) fn list_defects(request: &ApiRequest<'_>) -> Option<Reply> {
    let ids = request.project()?.logs.iter().filter_map(|log| log.defect_id);
    request.list_reply(ids.filter_map(|id| request.defects.get(&id)))
}

pub(super) fn defect_by_id(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(request.defects.get(&find_log_of_defect(request)?.defect_id?)?)
}

pub(super) fn test_case_of_defect(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(&find_log_of_defect(request)?.test_case)
}

pub(super) fn log_of_defect(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(find_log_of_defect(request)?)
}

pub(super) fn test_execution_of_defect(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(request.project()?.execution(find_log_of_defect(request)?.test_execution_id)?)
}
