//! Answers requests for the parts of a test case log.

use std::borrow::Cow;

use serde_json::json;
use uuid::Uuid;

use super::super::data::File;
use super::super::dto::{Attachment, TestCaseLog};
use super::super::faults::FaultName;
use super::super::png;
use super::{ApiRequest, Reply, executions, json_reply, logs};

fn requested_log<'a>(request: &ApiRequest<'a>) -> Option<Cow<'a, TestCaseLog>> {
    logs::find_log(request, request.path_id("id")?)
}

pub(super) fn list_assertions(request: &ApiRequest<'_>) -> Option<Reply> {
    let mut assertions = request.data_set.assertions(&*requested_log(request)?);
    if request.faults.is_set(FaultName::NoFileSizes) {
        assertions.iter_mut().for_each(|assertion| assertion.screenshot_file_size = None);
    }
    request.list_reply(assertions)
}

pub(super) fn download_assertions(request: &ApiRequest<'_>) -> Option<Reply> {
    let line = |assertion: super::super::dto::Assertion| {
        let word = if assertion.succeeded { "Passed" } else { "Failed" };
        format!("- **{word}**: {}\n", assertion.message)
    };
    let text: String =
        request.data_set.assertions(&*requested_log(request)?).into_iter().map(line).collect();
    Some(text_file("assertions.md", "text/markdown", text))
}

pub(super) fn download_robot_log(request: &ApiRequest<'_>) -> Option<Reply> {
    let log = requested_log(request)?;
    let lines = request.data_set.robot_logs(request.case(log.test_case_id)?, &log);
    let line = |line: super::super::dto::RobotLogLine| {
        format!("{} {} {}\r\n", line.time_stamp, line.level, line.message)
    };
    Some(text_file("robot.log", "text/plain", lines.into_iter().map(line).collect()))
}

fn text_file(name: &str, content_type: &str, text: String) -> Reply {
    let (name, content_type) = (name.to_owned(), content_type.to_owned());
    Reply::File(File { name, content_type, bytes: text.into_bytes() })
}

pub(super) fn download_screenshot(request: &ApiRequest<'_>) -> Option<Reply> {
    let (log, id) = (requested_log(request)?, request.path_id("assertionId")?);
    let assertions = request.data_set.assertions(&log);
    let assertion = assertions.iter().find(|it| it.id == id && it.has_screenshot)?;
    if request.faults.is_set(FaultName::ScreenshotGone) {
        return None;
    }
    if request.faults.is_set(FaultName::ScreenshotRedirect) {
        return Some(Reply::Redirect(format!(
            "{}/screenshots/{id}?sig=simulated",
            request.files_url
        )));
    }
    let name = assertion.screenshot_file_name.clone().unwrap_or_default();
    let bytes = png::screenshot(id.as_u128());
    Some(Reply::File(File { name, content_type: "image/png".to_owned(), bytes }))
}

/// If the query has `testcaseid`, answers only with the lines of this test case, for all its
/// variations.
pub(super) fn list_robot_logs(request: &ApiRequest<'_>) -> Option<Reply> {
    let (project, execution) = executions::find_execution(request, request.path_id("id")?)?;
    let case = request.query_parameter("testcaseid").and_then(|text| text.parse::<Uuid>().ok());
    let logs = project.logs_of_execution(execution.id);
    let logs = logs.filter(|log| case.is_none_or(|case| log.test_case_id == case));
    let lines = logs
        .filter_map(|log| Some(request.data_set.robot_logs(project.case(log.test_case_id)?, log)));
    request.list_reply(lines.flatten())
}

pub(super) fn list_step_logs(request: &ApiRequest<'_>) -> Option<Reply> {
    let log = logs::find_log(request, request.query_parameter("testCaseLogId")?.parse().ok()?)?;
    request.list_reply(request.data_set.step_logs(request.case(log.test_case_id)?, &log))
}

/// Only test case logs have attachments.
pub(super) fn list_attachments(request: &ApiRequest<'_>) -> Option<Reply> {
    let is_log = request.path_segment("objectType")?.eq_ignore_ascii_case("testcaselog");
    request.project()?;
    if !is_log {
        return json_reply(&json!([]));
    }
    let log = requested_log(request)?;
    let mut files = request.data_set.attachments(request.case(log.test_case_id)?, &log);
    if let Some(file_size) = request.faults.value(FaultName::LargeAttachment) {
        files.push(Attachment {
            id: large_attachment_id(request, log.id),
            object_id: log.id,
            object_type: "TestCaseLog".to_owned(),
            file_name: "memory.dmp".to_owned(),
            file_size: Some(file_size),
            content_type: "application/octet-stream".to_owned(),
        });
    }
    if request.faults.is_set(FaultName::NoFileSizes) {
        files.iter_mut().for_each(|file| file.file_size = None);
    }
    json_reply(&files)
}

/// Returns the id of the attachment that the fault `large-attachment` adds to a log.
fn large_attachment_id(request: &ApiRequest<'_>, log: Uuid) -> Uuid {
    request.data_set.seed.id("large", log)
}

pub(super) fn download_file(request: &ApiRequest<'_>) -> Option<Reply> {
    let (project, id) = (request.project()?, request.path_id("id")?);
    if let Some(bytes) = request.faults.value(FaultName::LargeAttachment)
        && project.logs.iter().any(|log| large_attachment_id(request, log.id) == id)
    {
        return Some(Reply::LargeFile("memory.dmp".to_owned(), bytes));
    }
    let copies = logs::copy_all_logs(request, project);
    let logs = project.logs.iter().chain(&copies);
    request.data_set.file(project, logs, id).map(Reply::File)
}
