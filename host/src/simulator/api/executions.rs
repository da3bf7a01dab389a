//! Answers requests for test executions and test sets.

use serde_json::json;
use uuid::Uuid;

use super::super::data::ProjectData;
use super::super::dto::TestExecution;
use super::super::faults::FaultName;
use super::{ApiRequest, Reply, json_reply};

/// The project that the path names and its execution with this id, if both exist.
pub(super) fn find<'a>(
    request: &ApiRequest<'a>,
    id: Uuid,
) -> Option<(&'a ProjectData, &'a TestExecution)> {
    let project = request.project()?;
    let execution = project.execution(id)?;
    (!request.faults.is_set(FaultName::UnknownExecution)).then_some((project, execution))
}

pub(super) fn list(request: &ApiRequest<'_>) -> Option<Reply> {
    request.list(&request.project()?.executions)
}

pub(super) fn by_id(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(find(request, request.id("id")?)?.1)
}

/// The execution, with the number of passed, failed and missing results.
pub(super) fn by_id_with_statistics(request: &ApiRequest<'_>) -> Option<Reply> {
    let (project, execution) = find(request, request.id("id")?)?;
    let mut value = json!(execution);
    if let Some(members) = value.as_object_mut() {
        for (member, result) in [("passed", "Passed"), ("failed", "Failed"), ("none", "None")] {
            let logs = project.logs_of(execution.id).filter(|log| log.result == result);
            members.insert(member.to_owned(), json!(logs.count()));
        }
    }
    json_reply(&value)
}

pub(super) fn test_sets(request: &ApiRequest<'_>) -> Option<Reply> {
    request.list(&request.project()?.test_sets)
}

pub(super) fn test_set(request: &ApiRequest<'_>) -> Option<Reply> {
    let id = request.id("id")?;
    json_reply(request.project()?.test_sets.iter().find(|set| set.id == id)?)
}
