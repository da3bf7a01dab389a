//! Answers requests for test cases, their steps, labels and custom fields, and for requirements.

use serde_json::json;

use super::super::data::CaseData;
use super::super::dto::Label;
use super::{ApiRequest, Reply, json_reply};

fn requested_case<'a>(request: &ApiRequest<'a>) -> Option<&'a CaseData> {
    request.case(request.path_id("id")?)
}

pub(super) fn list_cases(request: &ApiRequest<'_>) -> Option<Reply> {
    request.list_reply(request.project()?.cases.iter().map(|case| &case.dto))
}

pub(super) fn case_by_id(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(&requested_case(request)?.dto)
}

pub(super) fn case_by_key(request: &ApiRequest<'_>) -> Option<Reply> {
    let key = request.path_segment("objKey")?;
    json_reply(&request.project()?.cases.iter().find(|case| case.dto.obj_key == key)?.dto)
}

pub(super) fn list_steps(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(&request.data_set.steps(requested_case(request)?))
}

pub(super) fn list_assigned_requirements(request: &ApiRequest<'_>) -> Option<Reply> {
    let assigned = requested_case(request)?.requirement_id;
    let requirements = request.project()?.requirements.iter();
    json_reply(&requirements.filter(|requirement| requirement.id == assigned).collect::<Vec<_>>())
}

/// As in Test Manager, this list has another format than most lists.
pub(super) fn list_requirements(request: &ApiRequest<'_>) -> Option<Reply> {
    let (total, values) = request.select_page(&request.project()?.requirements);
    Some(Reply::Json(request.requested_page().requirements_answer(total, values)))
}

pub(super) fn requirement_by_id(request: &ApiRequest<'_>) -> Option<Reply> {
    let id = request.path_id("id")?;
    json_reply(request.project()?.requirements.iter().find(|requirement| requirement.id == id)?)
}

/// Whether the path names test cases as the type of the objects.
fn is_for_cases(request: &ApiRequest<'_>) -> bool {
    request.path_segment("objectType").is_some_and(|kind| kind.eq_ignore_ascii_case("testcase"))
}

/// Answers for all test cases, because no parameter selects a test case.
pub(super) fn list_custom_fields(request: &ApiRequest<'_>) -> Option<Reply> {
    let fields = request.project()?.custom_fields(request.data_set.seed);
    request.list_reply(fields.into_iter().filter(|_| is_for_cases(request)))
}

pub(super) fn list_labels(request: &ApiRequest<'_>) -> Option<Reply> {
    let labels = request.project()?.labels(request.data_set.seed, request.path_id("objectId")?);
    json_reply(&json!(labels.into_iter().filter(|_| is_for_cases(request)).collect::<Vec<Label>>()))
}
