//! Answers requests for test case logs.

use std::borrow::Cow;
use std::iter;

use serde_json::json;
use uuid::Uuid;

use super::super::data::ProjectData;
use super::super::dto::TestCaseLog;
use super::super::faults::FaultName;
use super::{ApiRequest, Reply, executions, json_reply};

/// With the fault `two-logs`, this may be the copy of a log.
pub(super) fn find_log<'a>(request: &ApiRequest<'a>, id: Uuid) -> Option<Cow<'a, TestCaseLog>> {
    let project = request.project()?;
    if let Some(log) = project.log(id) {
        return Some(with_faults(request, log));
    }
    let has_copies = request.faults.is_set(FaultName::TwoLogs);
    let mut copied =
        project.logs.iter().filter(|log| has_copies && id_of_copy(request, log.id) == id);
    copied.next().map(|log| copy_log(request, log))
}

/// With the fault `no-variation`, the log has another variation.
fn with_faults<'a>(request: &ApiRequest<'a>, log: &'a TestCaseLog) -> Cow<'a, TestCaseLog> {
    if !request.faults.is_set(FaultName::NoVariation) {
        return Cow::Borrowed(log);
    }
    let other = format!("other than {:?}", log.variation_id);
    Cow::Owned(TestCaseLog { variation_id: Some(other), ..log.clone() })
}

fn id_of_copy(request: &ApiRequest<'_>, id: Uuid) -> Uuid {
    request.data_set.seed.id("copy", id)
}

fn copy_log<'a>(request: &ApiRequest<'a>, log: &'a TestCaseLog) -> Cow<'a, TestCaseLog> {
    let shown_log = with_faults(request, log).into_owned();
    Cow::Owned(TestCaseLog { id: id_of_copy(request, log.id), ..shown_log })
}

/// Returns the log as the API lists it. With the fault `two-logs`, also returns its copy.
fn shown_logs<'a>(
    request: &ApiRequest<'a>,
    log: &'a TestCaseLog,
) -> impl Iterator<Item = Cow<'a, TestCaseLog>> + use<'a> {
    let has_copies = request.faults.is_set(FaultName::TwoLogs);
    let copy = has_copies.then(|| copy_log(request, log));
    iter::once(with_faults(request, log)).chain(copy)
}

/// Returns no copies without the fault `two-logs`.
pub(super) fn copy_all_logs(request: &ApiRequest<'_>, project: &ProjectData) -> Vec<TestCaseLog> {
    let logs = project.logs.iter().filter(|_| request.faults.is_set(FaultName::TwoLogs));
    logs.map(|log| copy_log(request, log).into_owned()).collect()
}

pub(super) fn log_by_id(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(&find_log(request, request.path_id("id")?)?)
}

pub(super) fn list_logs_of_execution(request: &ApiRequest<'_>) -> Option<Reply> {
    let (project, execution) =
        executions::find_execution(request, request.path_id("testExecutionId")?)?;
    let only_failed =
        request.query_parameter("onlyFailed").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let logs = project.logs_of_execution(execution.id).filter(|log| !only_failed || log.has_error);
    let logs: Vec<_> = logs.flat_map(|log| shown_logs(request, log)).collect();
    match request.faults.value(FaultName::ManyLogs) {
        Some(count) => page_after_other_logs(request, project, execution.id, count, &logs),
        None => request.list_reply(logs),
    }
}

/// Answers with a page of a list. The list contains `count` invented failed logs of other tests,
/// and after them `logs`.
fn page_after_other_logs(
    request: &ApiRequest<'_>,
    project: &ProjectData,
    execution: Uuid,
    count: u64,
    logs: &[Cow<'_, TestCaseLog>],
) -> Option<Reply> {
    let sample = project.logs_of_execution(execution).next()?;
    let (page, count) = (request.requested_page(), usize::try_from(count).ok()?);
    let total = count + logs.len();
    let item = |index: usize| match index.checked_sub(count) {
        Some(index) => logs.get(index).map(|log| json!(log)),
        None => {
            let key = format!("{execution}/{index}");
            Some(json!(TestCaseLog {
                id: request.data_set.seed.id("many-log", &key),
                test_case_id: request.data_set.seed.id("many-case", &key),
                result: "Failed".to_owned(),
                has_error: true,
                ..sample.clone()
            }))
        }
    };
    let end = page.skip.saturating_add(page.top).min(total);
    let values = (page.skip.min(end)..end).filter_map(item).collect();
    Some(Reply::Json(page.list_answer(total, values)))
}

/// The newest log is first, unless the query requests another order.
pub(super) fn list_logs_of_case(request: &ApiRequest<'_>) -> Option<Reply> {
    let case = request.case(request.path_id("testCaseId")?)?;
    let logs = request.project()?.logs.iter().rev();
    let logs = logs.filter(|log| log.test_case_id == case.dto.id);
    request.list_reply(logs.flat_map(|log| shown_logs(request, log)))
}
