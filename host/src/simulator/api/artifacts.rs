//! Answers requests for the parts of a log: assertions and their screenshots, lines of the robot,
//! steps and files.

use std::borrow::Cow;

use serde_json::json;
use uuid::Uuid;

use super::super::data::File;
use super::super::dto::{Attachment, TestCaseLog};
use super::super::faults::FaultName;
use super::super::png;
use super::{Call, Reply, executions, logs, one};

/// The log that the path names.
fn log<'a>(call: &Call<'a>) -> Option<Cow<'a, TestCaseLog>> {
    logs::find(call, call.id("id")?)
}

pub(super) fn assertions(call: &Call<'_>) -> Option<Reply> {
    call.list(call.world.assertions(&*log(call)?))
}

pub(super) fn assertions_as_markdown(call: &Call<'_>) -> Option<Reply> {
    let line = |assertion: super::super::dto::Assertion| {
        let word = if assertion.succeeded { "Passed" } else { "Failed" };
        format!("- **{word}**: {}\n", assertion.message)
    };
    let text: String = call.world.assertions(&*log(call)?).into_iter().map(line).collect();
    Some(text_file("assertions.md", "text/markdown", text))
}

pub(super) fn robot_log_file(call: &Call<'_>) -> Option<Reply> {
    let log = log(call)?;
    let lines = call.world.robot_logs(call.case(log.test_case_id)?, &log);
    let line = |line: super::super::dto::RobotLog| {
        format!("{} {} {}\r\n", line.time_stamp, line.level, line.message)
    };
    Some(text_file("robot.log", "text/plain", lines.into_iter().map(line).collect()))
}

fn text_file(name: &str, content_type: &str, text: String) -> Reply {
    let (name, content_type) = (name.to_owned(), content_type.to_owned());
    Reply::File(File { name, content_type, bytes: text.into_bytes() })
}

pub(super) fn screenshot(call: &Call<'_>) -> Option<Reply> {
    let (log, id) = (log(call)?, call.id("assertionId")?);
    let assertions = call.world.assertions(&log);
    let assertion = assertions.iter().find(|known| known.id == id && known.has_screenshot)?;
    if call.faults.has(FaultName::ScreenshotGone) {
        return None;
    }
    if call.faults.has(FaultName::ScreenshotRedirect) {
        return Some(Reply::Redirect(format!("{}/screenshots/{id}?sig=simulated", call.files_url)));
    }
    let name = assertion.screenshot_file_name.clone().unwrap_or_default();
    let bytes = png::screenshot(id.as_u128());
    Some(Reply::File(File { name, content_type: "image/png".to_owned(), bytes }))
}

/// The lines of the robots in an execution. With `testcaseid`, only the lines of that test case, in
/// all its variations.
pub(super) fn robot_logs(call: &Call<'_>) -> Option<Reply> {
    let (project, execution) = executions::find(call, call.id("id")?)?;
    let case = call.parameter("testcaseid").and_then(|text| text.parse::<Uuid>().ok());
    let logs = project.logs_of(execution.id);
    let logs = logs.filter(|log| case.is_none_or(|case| log.test_case_id == case));
    let lines =
        logs.filter_map(|log| Some(call.world.robot_logs(project.case(log.test_case_id)?, log)));
    call.list(lines.flatten())
}

pub(super) fn step_logs(call: &Call<'_>) -> Option<Reply> {
    let log = logs::find(call, call.parameter("testCaseLogId")?.parse().ok()?)?;
    call.list(call.world.step_logs(call.case(log.test_case_id)?, &log))
}

/// The attachments of a log. An object of another type has none.
pub(super) fn attachments(call: &Call<'_>) -> Option<Reply> {
    let is_log = call.text("objectType")?.eq_ignore_ascii_case("testcaselog");
    call.project()?;
    if !is_log {
        return one(&json!([]));
    }
    let log = log(call)?;
    let mut files = call.world.attachments(call.case(log.test_case_id)?, &log);
    if let Some(file_size) = call.faults.value(FaultName::LargeAttachment) {
        files.push(Attachment {
            id: large_id(call, log.id),
            object_id: log.id,
            object_type: "TestCaseLog".to_owned(),
            file_name: "memory.dmp".to_owned(),
            file_size,
            content_type: "application/octet-stream".to_owned(),
        });
    }
    one(&files)
}

fn large_id(call: &Call<'_>, log: Uuid) -> Uuid {
    call.world.seed.id("large", log)
}

pub(super) fn file(call: &Call<'_>) -> Option<Reply> {
    let (project, id) = (call.project()?, call.id("id")?);
    if let Some(bytes) = call.faults.value(FaultName::LargeAttachment)
        && project.logs.iter().any(|log| large_id(call, log.id) == id)
    {
        return Some(Reply::LargeFile("memory.dmp".to_owned(), bytes));
    }
    let copies = logs::copies(call, project);
    let logs = project.logs.iter().chain(&copies);
    call.world.file(project, logs, id).map(Reply::File)
}
