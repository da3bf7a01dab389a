//! Answers requests for test cases, their steps, labels and custom fields, and for requirements.

use serde_json::json;

use super::super::data::CaseData;
use super::super::dto::Label;
use super::{ApiRequest, Reply, json_reply};

fn case<'a>(request: &ApiRequest<'a>) -> Option<&'a CaseData> {
    request.case(request.id("id")?)
}

pub(super) fn list(request: &ApiRequest<'_>) -> Option<Reply> {
    request.list(request.project()?.cases.iter().map(|case| &case.dto))
}

pub(super) fn by_id(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(&case(request)?.dto)
}

pub(super) fn by_key(request: &ApiRequest<'_>) -> Option<Reply> {
    let key = request.text("objKey")?;
    json_reply(&request.project()?.cases.iter().find(|case| case.dto.obj_key == key)?.dto)
}

pub(super) fn steps(request: &ApiRequest<'_>) -> Option<Reply> {
    json_reply(&request.world.steps(case(request)?))
}

pub(super) fn assigned(request: &ApiRequest<'_>) -> Option<Reply> {
    let assigned = case(request)?.requirement;
    let requirements = request.project()?.requirements.iter();
    json_reply(&requirements.filter(|requirement| requirement.id == assigned).collect::<Vec<_>>())
}

/// Test Manager's only list with the other form of paging.
pub(super) fn requirements(request: &ApiRequest<'_>) -> Option<Reply> {
    let (total, values) = request.select(&request.project()?.requirements);
    Some(Reply::Json(request.page().of_requirements(total, values)))
}

pub(super) fn requirement(request: &ApiRequest<'_>) -> Option<Reply> {
    let id = request.id("id")?;
    json_reply(request.project()?.requirements.iter().find(|requirement| requirement.id == id)?)
}

fn is_for_cases(request: &ApiRequest<'_>) -> bool {
    request.text("objectType").is_some_and(|kind| kind.eq_ignore_ascii_case("testcase"))
}

/// The values of all test cases, because no parameter selects a test case.
pub(super) fn custom_fields(request: &ApiRequest<'_>) -> Option<Reply> {
    let fields = request.project()?.custom_fields(request.world.seed);
    request.list(fields.into_iter().filter(|_| is_for_cases(request)))
}

pub(super) fn labels(request: &ApiRequest<'_>) -> Option<Reply> {
    let labels = request.project()?.labels(request.world.seed, request.id("objectId")?);
    json_reply(&json!(labels.into_iter().filter(|_| is_for_cases(request)).collect::<Vec<Label>>()))
}
