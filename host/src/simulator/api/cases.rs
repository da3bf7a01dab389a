//! Answers requests for test cases, their steps, labels and custom fields, and for requirements.

use serde_json::json;

use super::super::data::CaseData;
use super::super::dto::Label;
use super::{Call, Reply, one};

fn case<'a>(call: &Call<'a>) -> Option<&'a CaseData> {
    call.case(call.id("id")?)
}

pub(super) fn list(call: &Call<'_>) -> Option<Reply> {
    call.list(call.project()?.cases.iter().map(|case| &case.dto))
}

pub(super) fn by_id(call: &Call<'_>) -> Option<Reply> {
    one(&case(call)?.dto)
}

pub(super) fn by_key(call: &Call<'_>) -> Option<Reply> {
    let key = call.text("objKey")?;
    one(&call.project()?.cases.iter().find(|case| case.dto.obj_key == key)?.dto)
}

pub(super) fn steps(call: &Call<'_>) -> Option<Reply> {
    one(&call.world.steps(case(call)?))
}

pub(super) fn assigned(call: &Call<'_>) -> Option<Reply> {
    let assigned = case(call)?.requirement;
    let requirements = call.project()?.requirements.iter();
    one(&requirements.filter(|requirement| requirement.id == assigned).collect::<Vec<_>>())
}

/// Test Manager's only list with the other form of paging.
pub(super) fn requirements(call: &Call<'_>) -> Option<Reply> {
    let (total, values) = call.select(&call.project()?.requirements);
    Some(Reply::Json(call.page().of_requirements(total, values)))
}

pub(super) fn requirement(call: &Call<'_>) -> Option<Reply> {
    let id = call.id("id")?;
    one(call.project()?.requirements.iter().find(|requirement| requirement.id == id)?)
}

fn is_for_cases(call: &Call<'_>) -> bool {
    call.text("objectType").is_some_and(|kind| kind.eq_ignore_ascii_case("testcase"))
}

/// The values of all test cases, because no parameter selects a test case.
pub(super) fn custom_fields(call: &Call<'_>) -> Option<Reply> {
    let fields = call.project()?.custom_fields(call.world.seed);
    call.list(fields.into_iter().filter(|_| is_for_cases(call)))
}

pub(super) fn labels(call: &Call<'_>) -> Option<Reply> {
    let labels = call.project()?.labels(call.world.seed, call.id("objectId")?);
    one(&json!(labels.into_iter().filter(|_| is_for_cases(call)).collect::<Vec<Label>>()))
}
