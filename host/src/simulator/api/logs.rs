//! Answers requests for test case logs.

use std::borrow::Cow;

use serde_json::json;
use uuid::Uuid;

use super::super::data::ProjectData;
use super::super::dto::TestCaseLog;
use super::super::faults::FaultName;
use super::{Call, Reply, executions, one};

/// The log with this id; it may be a copy that a fault made.
pub(super) fn find<'a>(call: &Call<'a>, id: Uuid) -> Option<Cow<'a, TestCaseLog>> {
    let project = call.project()?;
    if let Some(log) = project.log(id) {
        return Some(shown(call, log));
    }
    let copies = call.faults.has(FaultName::TwoLogs);
    let mut copied = project.logs.iter().filter(|log| copies && copy_id(call, log.id) == id);
    copied.next().map(|log| copy(call, log))
}

/// The log as the API shows it: with the fault `no-variation`, it has another variation.
fn shown<'a>(call: &Call<'a>, log: &'a TestCaseLog) -> Cow<'a, TestCaseLog> {
    if !call.faults.has(FaultName::NoVariation) {
        return Cow::Borrowed(log);
    }
    let other = format!("other than {:?}", log.variation_id);
    Cow::Owned(TestCaseLog { variation_id: Some(other), ..log.clone() })
}

fn copy_id(call: &Call<'_>, id: Uuid) -> Uuid {
    call.world.seed.id("copy", id)
}

fn copy<'a>(call: &Call<'a>, log: &'a TestCaseLog) -> Cow<'a, TestCaseLog> {
    let shown = shown(call, log).into_owned();
    Cow::Owned(TestCaseLog { id: copy_id(call, log.id), ..shown })
}

/// The second log of each, if a fault makes it.
pub(super) fn copies(call: &Call<'_>, project: &ProjectData) -> Vec<TestCaseLog> {
    let logs = project.logs.iter().filter(|_| call.faults.has(FaultName::TwoLogs));
    logs.map(|log| copy(call, log).into_owned()).collect()
}

pub(super) fn by_id(call: &Call<'_>) -> Option<Reply> {
    one(&find(call, call.id("id")?)?)
}

pub(super) fn of_execution(call: &Call<'_>) -> Option<Reply> {
    let (project, execution) = executions::find(call, call.id("testExecutionId")?)?;
    let only_failed =
        call.parameter("onlyFailed").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let logs = project.logs_of(execution.id).filter(|log| !only_failed || log.has_error);
    let copies = call.faults.has(FaultName::TwoLogs);
    let both = |log| [Some(shown(call, log)), copies.then(|| copy(call, log))];
    let logs: Vec<_> = logs.flat_map(both).flatten().collect();
    match call.faults.value(FaultName::ManyLogs) {
        Some(count) => many(call, project, execution.id, count, &logs),
        None => call.list(logs),
    }
}

/// One page of a list that begins with `count` failed logs of other tests.
fn many(
    call: &Call<'_>,
    project: &ProjectData,
    execution: Uuid,
    count: u64,
    logs: &[Cow<'_, TestCaseLog>],
) -> Option<Reply> {
    let sample = project.logs_of(execution).next()?;
    let (page, count) = (call.page(), usize::try_from(count).ok()?);
    let total = count + logs.len();
    let item = |at: usize| match at.checked_sub(count) {
        Some(at) => logs.get(at).map(|log| json!(log)),
        None => {
            let key = format!("{execution}/{at}");
            Some(json!(TestCaseLog {
                id: call.world.seed.id("many-log", &key),
                test_case_id: call.world.seed.id("many-case", &key),
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
pub(super) fn of_case(call: &Call<'_>) -> Option<Reply> {
    let case = call.case(call.id("testCaseId")?)?;
    let logs = call.project()?.logs.iter().rev();
    call.list(logs.filter(|log| log.test_case_id == case.dto.id))
}
