//! Answers requests for test executions and test sets.

use serde_json::json;
use uuid::Uuid;

use super::super::data::ProjectData;
use super::super::dto::TestExecution;
use super::super::faults::FaultName;
use super::{Call, Reply, one};

/// The project that the path names, if it has this execution.
pub(super) fn find<'a>(call: &Call<'a>, id: Uuid) -> Option<(&'a ProjectData, &'a TestExecution)> {
    let project = call.project()?;
    let execution = project.execution(id)?;
    (!call.faults.has(FaultName::UnknownExecution)).then_some((project, execution))
}

pub(super) fn list(call: &Call<'_>) -> Option<Reply> {
    call.list(&call.project()?.executions)
}

pub(super) fn by_id(call: &Call<'_>) -> Option<Reply> {
    one(find(call, call.id("id")?)?.1)
}

/// The execution, with the number of results of each kind.
pub(super) fn stats(call: &Call<'_>) -> Option<Reply> {
    let (project, execution) = find(call, call.id("id")?)?;
    let mut value = json!(execution);
    if let Some(members) = value.as_object_mut() {
        for (member, result) in [("passed", "Passed"), ("failed", "Failed"), ("none", "None")] {
            let logs = project.logs_of(execution.id).filter(|log| log.result == result);
            members.insert(member.to_owned(), json!(logs.count()));
        }
    }
    one(&value)
}

pub(super) fn sets(call: &Call<'_>) -> Option<Reply> {
    call.list(&call.project()?.test_sets)
}

pub(super) fn set(call: &Call<'_>) -> Option<Reply> {
    let id = call.id("id")?;
    one(call.project()?.test_sets.iter().find(|set| set.id == id)?)
}
