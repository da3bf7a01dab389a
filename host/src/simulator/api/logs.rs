//! Answers requests for test case logs.

use std::borrow::Cow;

use serde_json::json;
use uuid::Uuid;

use super::super::data::ProjectData;
use super::super::dto::TestCaseLog;
use super::super::faults::FaultName;
use super::{ApiRequest, Reply, executions, json_reply};

/// The log with this id; it may be a copy that a fault made.
pub(super) fn find<'a>(request: &ApiRequest<'a>, id: Uuid) -> Option<Cow<'a, TestCaseLog>> {
    let project = request.project()?;
    if let Some(log) = project.log(id) {
        return Some(with_faults(request, log));
    }
    let copies = request.faults.has(FaultName::TwoLogs);
    let mut copied = project.logs.iter().filter(|log| copies && copy_id(request, log.id) == id);
    copied.next().map(|log| copy(request, log))
}

/// The log as the API shows it: with the fault `no-variation`, it has another variation.
fn with_faults<'a>(request: &ApiRequest<'a>, log: &'a TestCaseLog) -> Cow<'a, TestCaseLog> {
    if !request.faults.has(FaultName::NoVariation) {
        return Cow::Borrowed(log);
    }
    let other = format!("other than {:?}", log.variation_id);
    Cow::Owned(TestCaseLog { variation_id: Some(other), ..log.clone() })
}

fn copy_id(request: &ApiRequest<'_>, id: Uuid) -> Uuid {
    request.world.seed.id("copy", id)
}

fn copy<'a>(request: &ApiRequest<'a>, log: &'a TestCaseLog) -> Cow<'a, TestCaseLog> {
    let shown = with_faults(request, log).into_owned();
    Cow::Owned(TestCaseLog { id: copy_id(request, log.id), ..shown })
}

/// The second log of each, if a fault makes it.
pub(super) fn copies(request: &ApiRequest<'_>, project: &ProjectData) -> Vec<TestCaseLog> {
    let logs = project.logs.iter().filter(|_| request.faults.has(FaultName::TwoLogs));
    logs.map(|log| copy(request, log).into_owned()).collect()
}

pub(super) fn by_id(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(&find(request, request.id("id")?)?)
}

pub(super) fn of_execution(request: &ApiRequest<'_>) -> Option<Reply> {
    let (project, execution) = executions::find(request, request.id("testExecutionId")?)?;
    let only_failed =
        request.parameter("onlyFailed").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let logs = project.logs_of(execution.id).filter(|log| !only_failed || log.has_error);
    let copies = request.faults.has(FaultName::TwoLogs);
    let both = |log| [Some(with_faults(request, log)), copies.then(|| copy(request, log))];
    let logs: Vec<_> = logs.flat_map(both).flatten().collect();
    match request.faults.value(FaultName::ManyLogs) {
        Some(count) => many(request, project, execution.id, count, &logs),
        None => request.list(logs),
    }
}

/// One page of a list that begins with `count` failed logs of other tests.
fn many(
    request: &ApiRequest<'_>,
    project: &ProjectData,
    execution: Uuid,
    count: u64,
    logs: &[Cow<'_, TestCaseLog>],
) -> Option<Reply> {
    let sample = project.logs_of(execution).next()?;
    let (page, count) = (request.page(), usize::try_from(count).ok()?);
    let total = count + logs.len();
    let item = |at: usize| match at.checked_sub(count) {
        Some(at) => logs.get(at).map(|log| json!(log)),
        None => {
            let key = format!("{execution}/{at}");
            Some(json!(TestCaseLog {
                id: request.world.seed.id("many-log", &key),
                test_case_id: request.world.seed.id("many-case", &key),
                result: "Failed".to_owned(),
                has_error: true,
                ..sample.clone()
            }))
        }
    };
    let end = page.skip.saturating_add(page.top).min(total);
    let values = (page.skip.min(end)..end).filter_map(item).collect();
    Some(Reply::Json(page.of(total, values)))
}

/// The results of a test case; the newest come first unless the query names an order.
pub(super) fn of_case(request: &ApiRequest<'_>) -> Option<Reply> {
    let case = request.case(request.id("testCaseId")?)?;
    let logs = request.project()?.logs.iter().rev();
    request.list(logs.filter(|log| log.test_case_id == case.dto.id))
}
