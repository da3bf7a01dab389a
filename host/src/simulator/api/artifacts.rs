//! Answers requests for the parts of a log: assertions and their screenshots, lines of the robot's
//! log, steps and files.

use std::borrow::Cow;

use serde_json::json;
use uuid::Uuid;

use super::super::data::File;
use super::super::dto::{Attachment, TestCaseLog};
use super::super::faults::FaultName;
use super::super::png;
use super::{ApiRequest, Reply, executions, json_reply, logs};

/// The log that the path names.
fn requested_log<'a>(request: &ApiRequest<'a>) -> Option<Cow<'a, TestCaseLog>> {
    logs::find(request, request.id("id")?)
}

pub(super) fn assertions(request: &ApiRequest<'_>) -> Option<Reply> {
    request.list(request.data_set.assertions(&*requested_log(request)?))
}

pub(super) fn assertions_as_markdown(request: &ApiRequest<'_>) -> Option<Reply> {
    let line = |assertion: super::super::dto::Assertion| {
        let word = if assertion.succeeded { "Passed" } else { "Failed" };
        format!("- **{word}**: {}\n", assertion.message)
    };
    let text: String =
        request.data_set.assertions(&*requested_log(request)?).into_iter().map(line).collect();
    Some(text_file("assertions.md", "text/markdown", text))
}

pub(super) fn robot_log_file(request: &ApiRequest<'_>) -> Option<Reply> {
    let log = requested_log(request)?;
    let lines = request.data_set.robot_logs(request.case(log.test_case_id)?, &log);
    let line = |line: super::super::dto::RobotLog| {
        format!("{} {} {}\r\n", line.time_stamp, line.level, line.message)
    };
    Some(text_file("robot.log", "text/plain", lines.into_iter().map(line).collect()))
}

fn text_file(name: &str, content_type: &str, text: String) -> Reply {
    let (name, content_type) = (name.to_owned(), content_type.to_owned());
    Reply::File(File { name, content_type, bytes: text.into_bytes() })
}

pub(super) fn screenshot(request: &ApiRequest<'_>) -> Option<Reply> {
    let (log, id) = (requested_log(request)?, request.id("assertionId")?);
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

/// Answers with the log lines of the robots in an execution. With `testcaseid`, only with the lines
/// of that test case, in all its variations.
pub(super) fn robot_logs(request: &ApiRequest<'_>) -> Option<Reply> {
    let (project, execution) = executions::find(request, request.id("id")?)?;
    let case = request.parameter("testcaseid").and_then(|text| text.parse::<Uuid>().ok());
    let logs = project.logs_of(execution.id);
    let logs = logs.filter(|log| case.is_none_or(|case| log.test_case_id == case));
    let lines = logs
        .filter_map(|log| Some(request.data_set.robot_logs(project.case(log.test_case_id)?, log)));
    request.list(lines.flatten())
}

pub(super) fn step_logs(request: &ApiRequest<'_>) -> Option<Reply> {
    let log = logs::find(request, request.parameter("testCaseLogId")?.parse().ok()?)?;
    request.list(request.data_set.step_logs(request.case(log.test_case_id)?, &log))
}

/// Answers with the attachments of a log. Objects of other types have none.
pub(super) fn attachments(request: &ApiRequest<'_>) -> Option<Reply> {
    let is_log = request.segment("objectType")?.eq_ignore_ascii_case("testcaselog");
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
            file_size,
            content_type: "application/octet-stream".to_owned(),
        });
    }
    json_reply(&files)
}

/// The id of the additional attachment of a log with the fault `large-attachment`.
fn large_attachment_id(request: &ApiRequest<'_>, log: Uuid) -> Uuid {
    request.data_set.seed.id("large", log)
}

pub(super) fn file(request: &ApiRequest<'_>) -> Option<Reply> {
    let (project, id) = (request.project()?, request.id("id")?);
    if let Some(bytes) = request.faults.value(FaultName::LargeAttachment)
        && project.logs.iter().any(|log| large_attachment_id(request, log.id) == id)
    {
        return Some(Reply::LargeFile("memory.dmp".to_owned(), bytes));
    }
    let copies = logs::copies(request, project);
    let logs = project.logs.iter().chain(&copies);
    request.data_set.file(project, logs, id).map(Reply::File)
}
