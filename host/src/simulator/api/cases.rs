//! Answers requests for test cases, their steps, labels and custom fields, and for requirements.

use serde_json::json;

use super::super::data::CaseData;
use super::super::dto::Label;
use super::{ApiRequest, Reply, json_reply};

/// The test case that the path names.
fn requested_case<'a>(request: &ApiRequest<'a>) -> Option<&'a CaseData> {
    request.case(request.id("id")?)
}

pub(super) fn list(request: &ApiRequest<'_>) -> Option<Reply> {
    request.list(request.project()?.cases.iter().map(|case| &case.dto))
}

pub(super) fn by_id(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(&requested_case(request)?.dto)
}

pub(super) fn by_key(request: &ApiRequest<'_>) -> Option<Reply> {
    let key = request.segment("objKey")?;
    json_reply(&request.project()?.cases.iter().find(|case| case.dto.obj_key == key)?.dto)
}

pub(super) fn steps(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(&request.data_set.steps(requested_case(request)?))
}

pub(super) fn assigned_requirements(request: &ApiRequest<'_>) -> Option<Reply> {
    let assigned = requested_case(request)?.requirement;
    let requirements = request.project()?.requirements.iter();
    json_reply(&requirements.filter(|requirement| requirement.id == assigned).collect::<Vec<_>>())
}

/// Answers in another format of paging than all other lists, as Test Manager does.
pub(super) fn requirements(request: &ApiRequest<'_>) -> Option<Reply> {
    let (total, values) = request.select(&request.project()?.requirements);
    Some(Reply::Json(request.page().requirements_answer(total, values)))
}

pub(super) fn requirement(request: &ApiRequest<'_>) -> Option<Reply> {
    let id = request.id("id")?;
    json_reply(request.project()?.requirements.iter().find(|requirement| requirement.id == id)?)
}

fn is_for_cases(request: &ApiRequest<'_>) -> bool {
    request.segment("objectType").is_some_and(|kind| kind.eq_ignore_ascii_case("testcase"))
}

/// Answers with the values of all test cases, because no parameter selects a test case.
pub(super) fn custom_fields(request: &ApiRequest<'_>) -> Option<Reply> {
    let fields = request.project()?.custom_fields(request.data_set.seed);
    request.list(fields.into_iter().filter(|_| is_for_cases(request)))
}

pub(super) fn labels(request: &ApiRequest<'_>) -> Option<Reply> {
    let labels = request.project()?.labels(request.data_set.seed, request.id("objectId")?);
    json_reply(&json!(labels.into_iter().filter(|_| is_for_cases(request)).collect::<Vec<Label>>()))
}
