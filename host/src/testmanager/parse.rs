//! Converts Test Manager's JSON into the data of a failed test. A value that is missing in the JSON
//! is absent in the data.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::printable;
use crate::report::{
    Assertion, Attachment, AttachmentKind, CustomField, Execution, PastResult, Project,
    Requirement, RobotLog, Step, Subject, TestCase, TestCaseLog, TestData, TestSet,
};

use super::json::{flag, json_text, member, number, text};

/// Maximum length of a file name, characters.
const FILE_NAME_CHARS_MAX: usize = 100;

/// Fills in the fields of the data that belong to one part.
pub(super) fn fill(data: &mut TestData, subject: Subject, value: &Value) {
    match subject {
        Subject::Project => data.project = project(value),
        Subject::TestCase => data.test_case = test_case(value),
        Subject::TestExecution => data.execution = execution(value),
        Subject::TestCaseLog => data.log = log(value),
        Subject::TestSet => data.test_set = test_set(value),
        Subject::Assertions => {
            data.assertions = read_items(value, assertion);
            data.attachments.extend(screenshots(value));
        }
        Subject::RobotLogs => {
            data.robot_logs = read_items(value, robot_log);
            // The request asks for the newest lines first, but Test Manager may ignore this.
            data.robot_logs.reverse();
            data.robot_logs.sort_by_cached_key(|line| instant(line.at.as_deref()));
        }
        Subject::Attachments => data.attachments.extend(read_items(value, file)),
        Subject::Requirements => data.requirements = read_items(value, requirement),
        Subject::Labels => data.labels = read_items(value, label),
        Subject::CustomFields => data.custom_fields = read_items(value, custom_field),
        Subject::Steps => data.steps = read_items(value, step),
        Subject::History => {
            data.history = read_items(value, past_result);
            let own = data.test_execution_id.as_str();
            let is_own = |past: &PastResult| past.test_execution_id.as_deref() == Some(own);
            data.history.retain(|past| !is_own(past));
            data.history.sort_by_cached_key(|past| Reverse(instant(past.finished_at.as_deref())));
        }
    }
}

/// A time, or `None` if the text is not a time that can be parsed.
fn instant(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

/// The items of a list; items that `read` does not understand are left out.
fn read_items<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    value.as_array().into_iter().flatten().filter_map(read).collect()
}

fn project(value: &Value) -> Option<Project> {
    Some(Project {
        id: text(value, &["id", "projectId"])?,
        prefix: text(value, &["projectPrefix", "prefix"]),
        name: text(value, &["name"]),
    })
}

fn test_case(value: &Value) -> Option<TestCase> {
    Some(TestCase {
        id: text(value, &["id", "testCaseId"])?,
        key: text(value, &["objKey", "key"]),
        name: text(value, &["name"]),
        description: text(value, &["description"]),
        version: text(value, &["version", "testCaseVersion"]),
        pre_condition: text(value, &["preCondition"]),
        automation_project: text(value, &["automationProjectName"]),
        automation_test_case: text(value, &["automationTestCaseName"]),
    })
}

fn execution(value: &Value) -> Option<Execution> {
    Some(Execution {
        id: text(value, &["id", "testExecutionId"])?,
        name: text(value, &["name"]),
        test_set_id: text(value, &["testSetId"]),
        started_at: text(value, &["executionStart", "started"]),
        finished_at: text(value, &["executionFinished", "executionEnd", "finished"]),
        source: text(value, &["source"]),
        execution_type: text(value, &["executionType"]),
    })
}

fn test_set(value: &Value) -> Option<TestSet> {
    Some(TestSet {
        id: text(value, &["id", "testSetId"])?,
        key: text(value, &["objKey", "key"]),
        name: text(value, &["name"]),
    })
}

fn log(value: &Value) -> Option<TestCaseLog> {
    Some(TestCaseLog {
        id: text(value, &["id", "testCaseLogId"])?,
        result: text(value, &["result"]),
        info: text(value, &["info"]),
        started_at: text(value, &["executionStart"]),
        finished_at: text(value, &["executionEnd", "executionFinished"]),
        executed_by: text(value, &["executedBy"]),
        robot: text(value, &["robotName"]),
        machine: text(value, &["hostMachineName"]),
        runtime: text(value, &["runtimeType"]),
        input_arguments: json_text(value, &["inputArguments"]),
        output_arguments: json_text(value, &["outputArguments"]),
        detail_link: text(value, &["detailLink"]),
        defect_id: text(value, &["defectId"]),
        post_condition: text(value, &["postCondition"]),
    })
}

fn assertion(value: &Value) -> Option<Assertion> {
    Some(Assertion {
        id: text(value, &["id", "assertionId"])?,
        message: text(value, &["message"]),
        payload: json_text(value, &["payload"]),
        succeeded: succeeded(value),
        has_screenshot: flag(value, &["hasScreenshot"]) == Some(true),
    })
}

/// Whether the assertion passed. Without a status, an assertion of a failed test counts as failed.
fn succeeded(value: &Value) -> bool {
    let status = || text(value, &["status", "result"]).map(|it| it.eq_ignore_ascii_case("passed"));
    flag(value, &["succeeded"]).or_else(status).unwrap_or(false)
}

/// The screenshots of assertions; the screenshots of failed assertions come first.
fn screenshots(value: &Value) -> Vec<Attachment> {
    let mut found: Vec<_> = read_items(value, |it| Some((succeeded(it), screenshot(it)?)));
    found.sort_by_key(|(succeeded, _)| *succeeded);
    let name = |(number, (_, mut file)): (usize, (bool, Attachment))| {
        if file.name.is_empty() {
            file.name = format!("screenshot-{}.png", number + 1);
        }
        file
    };
    found.into_iter().enumerate().map(name).collect()
}

fn screenshot(value: &Value) -> Option<Attachment> {
    if flag(value, &["hasScreenshot"]) != Some(true) {
        return None;
    }
    let name = text(value, &["screenshotFileName"]).map_or_else(String::new, |it| file_name(&it));
    let media_type = match media_type(&name) {
        known if known.starts_with("image/") => known,
        _ => "image/png",
    };
    Some(Attachment {
        kind: AttachmentKind::Screenshot,
        source_id: text(value, &["id", "assertionId"])?,
        media_type: media_type.to_owned(),
        name,
        size: number(value, &["screenshotFileSize"]),
    })
}

fn file(value: &Value) -> Option<Attachment> {
    let id = text(value, &["id", "attachmentId"])?;
    let name = text(value, &["fileName", "name", "originalFileName"]);
    let name = name.map_or_else(String::new, |it| file_name(&it));
    let given = text(value, &["contentType", "mimeType", "mediaType"]);
    let given = given.filter(|it| it.contains('/') && it.bytes().all(|b| b.is_ascii_graphic()));
    Some(Attachment {
        kind: AttachmentKind::File,
        media_type: given.unwrap_or_else(|| media_type(&name).to_owned()),
        name: if name.is_empty() { "attachment".to_owned() } else { name },
        source_id: id,
        size: number(value, &["size", "fileSize", "contentLength"]),
    })
}

/// A file name without a path and without characters that cannot be shown.
fn file_name(text: &str) -> String {
    let name = text.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let name: String = printable(name).chars().take(FILE_NAME_CHARS_MAX).collect();
    if name.chars().all(|c| c == '.') { String::new() } else { name }
}

/// The media type that belongs to the extension of a file name.
fn media_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "bmp" => "image/bmp",
        "webp" => "image/webp",
        "txt" | "log" => "text/plain",
        "csv" => "text/csv",
        "htm" | "html" => "text/html",
        "json" => "application/json",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "mp4" => "video/mp4",
        _ => "application/octet-stream",
    }
}

fn robot_log(value: &Value) -> Option<RobotLog> {
    Some(RobotLog {
        at: text(value, &["timeStamp", "time", "created"]),
        level: text(value, &["level", "logLevel"]),
        message: text(value, &["message", "rawMessage", "text"])?,
    })
}

fn requirement(value: &Value) -> Option<Requirement> {
    Some(Requirement {
        id: text(value, &["id", "requirementId"])?,
        key: text(value, &["objKey", "key"]),
        name: text(value, &["name"]),
    })
}

fn label(value: &Value) -> Option<String> {
    let plain = value.as_str().map(str::to_owned);
    plain.or_else(|| {
        let names = ["name", "label", "labelName", "displayName", "value"];
        text(value, &names).or_else(|| text(member(value, &["label"])?, &["name"]))
    })
}

fn custom_field(value: &Value) -> Option<CustomField> {
    let name = text(value, &["name", "customFieldName", "fieldName", "customFieldDefinitionName"]);
    let definition = || member(value, &["customFieldDefinition", "definition"]);
    Some(CustomField {
        name: name.or_else(|| text(definition()?, &["name"]))?,
        value: json_text(value, &["value", "customFieldValue", "values"])?,
    })
}

fn step(value: &Value) -> Option<Step> {
    let step = Step {
        description: text(value, &["description", "stepDescription", "name"]),
        expected: text(value, &["expectedBehavior", "expectedResult", "expected"]),
        actual: text(value, &["actualBehavior", "actualResult", "actual", "comment"]),
        result: text(value, &["result", "status"]),
    };
    (step != Step::default()).then_some(step)
}

fn past_result(value: &Value) -> Option<PastResult> {
    let past = PastResult {
        test_execution_id: text(value, &["testExecutionId"]).map(|id| id.to_lowercase()),
        result: text(value, &["result"]),
        finished_at: text(value, &["executionEnd", "executionFinished", "executionStart"]),
    };
    (past != PastResult::default()).then_some(past)
}
