//! Answers requests for test executions and test sets.

use serde_json::json;
use uuid::Uuid;

use super::super::data::ProjectData;
use super::super::dto::TestExecution;
use super::super::faults::FaultName;
use super::{ApiRequest, Reply, json_reply};

/// With the fault `unknown-execution`, finds no execution.
pub(super) fn find_execution<'a>(
    request: &ApiRequest<'a>,
    id: Uuid,
) -> Option<(&'a ProjectData, &'a TestExecution)> {
    let project = request.project()?;
    let execution = project.execution(id)?;
    (!request.faults.is_set(FaultName::UnknownExecution)).then_some((project, execution))
}

pub(super) fn list_executions(request: &ApiRequest<'_>) -> Option<Reply> {
    request.list_reply(&request.project()?.executions)
}

pub(super) fn execution_by_id(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(find_execution(request, request.path_id("id")?)?.1)
}

/// Answers with an execution and its numbers of passed, failed and missing results.
pub(super) fn execution_with_statistics(request: &ApiRequest<'_>) -> Option<Reply> {
    let (project, execution) = find_execution(request, request.path_id("id")?)?;
    let mut value = json!(execution);
    if let Some(members) = value.as_object_mut() {
        for (member, result) in [("passed", "Passed"), ("failed", "Failed"), ("none", "None")] {
            let logs = project.logs_of_execution(execution.id).filter(|log| log.result == result);
            members.insert(member.to_owned(), json!(logs.count()));
        }
    }
    json_reply(&value)
}

pub(super) fn list_test_sets(request: &ApiRequest<'_>) -> Option<Reply> {
    request.list_reply(&request.project()?.test_sets)
}

pub(super) fn test_set_by_id(request: &ApiRequest<'_>) -> Option<Reply> {
    let id = request.path_id("id")?;
    json_reply(request.project()?.test_sets.iter().find(|set| set.id == id)?)
}
