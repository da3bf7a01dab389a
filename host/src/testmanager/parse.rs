//! Converts Test Manager's JSON into the data of a failed test. A value that is missing in the JSON
//! is never an error.

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

use super::json::{boolean_member, find_member, json_text_member, number_member, text_member};

/// Maximum length of a file name, characters.
const FILE_NAME_CHARS_MAX: usize = 100;

/// Sets the fields of `data` that belong to `subject`, from Test Manager's JSON.
pub(super) fn set_fields_of_subject(data: &mut TestData, subject: Subject, value: &Value) {
    match subject {
        Subject::Project => data.project = read_project(value),
        Subject::TestCase => data.test_case = read_test_case(value),
        Subject::TestExecution => data.execution = read_execution(value),
        Subject::TestCaseLog => data.log = read_log(value),
        Subject::TestSet => data.test_set = read_test_set(value),
        Subject::Assertions => {
            data.assertions = read_items(value, read_assertion);
            data.attachments.extend(read_screenshots(value));
        }
        Subject::RobotLogs => {
            data.robot_logs = read_items(value, read_robot_log);
            // The newest lines are requested first, but Test Manager may ignore this order.
            data.robot_logs.reverse();
            data.robot_logs.sort_by_cached_key(|line| parse_time(line.at.as_deref()));
        }
        Subject::Attachments => data.attachments.extend(read_items(value, read_attachment)),
        Subject::Requirements => data.requirements = read_items(value, read_requirement),
        Subject::Labels => data.labels = read_items(value, read_label),
        Subject::CustomFields => data.custom_fields = read_items(value, read_custom_field),
        Subject::Steps => data.steps = read_items(value, read_step),
        Subject::History => {
            data.history = read_items(value, read_past_result);
            let own_id = data.test_execution_id.as_str();
            let is_own = |past: &PastResult| past.test_execution_id.as_deref() == Some(own_id);
            data.history.retain(|past| !is_own(past));
            data.history
                .sort_by_cached_key(|past| Reverse(parse_time(past.finished_at.as_deref())));
        }
    }
}

fn parse_time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

fn read_items<T>(value: &Value, read_item: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    value.as_array().into_iter().flatten().filter_map(read_item).collect()
}

fn read_project(value: &Value) -> Option<Project> {
    Some(Project {
        id: text_member(value, &["id", "projectId"])?,
        prefix: text_member(value, &["projectPrefix", "prefix"]),
        name: text_member(value, &["name"]),
    })
}

fn read_test_case(value: &Value) -> Option<TestCase> {
    Some(TestCase {
        id: text_member(value, &["id", "testCaseId"])?,
        key: text_member(value, &["objKey", "key"]),
        name: text_member(value, &["name"]),
        description: text_member(value, &["description"]),
        version: text_member(value, &["version", "testCaseVersion"]),
        pre_condition: text_member(value, &["preCondition"]),
        automation_project: text_member(value, &["automationProjectName"]),
        automation_test_case: text_member(value, &["automationTestCaseName"]),
    })
}

fn read_execution(value: &Value) -> Option<Execution> {
    Some(Execution {
        id: text_member(value, &["id", "testExecutionId"])?,
        name: text_member(value, &["name"]),
        test_set_id: text_member(value, &["testSetId"]),
        started_at: text_member(value, &["executionStart", "started"]),
        finished_at: text_member(value, &["executionFinished", "executionEnd", "finished"]),
        source: text_member(value, &["source"]),
        execution_type: text_member(value, &["executionType"]),
    })
}

fn read_test_set(value: &Value) -> Option<TestSet> {
    Some(TestSet {
        id: text_member(value, &["id", "testSetId"])?,
        key: text_member(value, &["objKey", "key"]),
        name: text_member(value, &["name"]),
    })
}

fn read_log(value: &Value) -> Option<TestCaseLog> {
    Some(TestCaseLog {
        id: text_member(value, &["id", "testCaseLogId"])?,
        result: text_member(value, &["result"]),
        info: text_member(value, &["info"]),
        started_at: text_member(value, &["executionStart"]),
        finished_at: text_member(value, &["executionEnd", "executionFinished"]),
        executed_by: text_member(value, &["executedBy"]),
        robot: text_member(value, &["robotName"]),
        machine: text_member(value, &["hostMachineName"]),
        runtime: text_member(value, &["runtimeType"]),
        input_arguments: json_text_member(value, &["inputArguments"]),
        output_arguments: json_text_member(value, &["outputArguments"]),
        detail_link: text_member(value, &["detailLink"]),
        defect_id: text_member(value, &["defectId"]),
        post_condition: text_member(value, &["postCondition"]),
    })
}

fn read_assertion(value: &Value) -> Option<Assertion> {
    Some(Assertion {
        id: text_member(value, &["id", "assertionId"])?,
        message: text_member(value, &["message"]),
        payload: json_text_member(value, &["payload"]),
        succeeded: has_succeeded(value),
        has_screenshot: boolean_member(value, &["hasScreenshot"]) == Some(true),
    })
}

/// Whether the assertion passed. An assertion without a status counts as failed, because the test
/// failed.
fn has_succeeded(value: &Value) -> bool {
    let status = || {
        text_member(value, &["status", "result"])
            .map(|status| status.eq_ignore_ascii_case("passed"))
    };
    boolean_member(value, &["succeeded"]).or_else(status).unwrap_or(false)
}

/// Reads the screenshots of assertions. The screenshots of failed assertions come first.
fn read_screenshots(value: &Value) -> Vec<Attachment> {
    let mut screenshots: Vec<_> = read_items(value, |assertion| {
        Some((has_succeeded(assertion), read_screenshot(assertion)?))
    });
    screenshots.sort_by_key(|(succeeded, _)| *succeeded);
    let with_name = |(number, (_, mut file)): (usize, (bool, Attachment))| {
        if file.name.is_empty() {
            file.name = format!("screenshot-{}.png", number + 1);
        }
        file
    };
    screenshots.into_iter().enumerate().map(with_name).collect()
}

fn read_screenshot(value: &Value) -> Option<Attachment> {
    if boolean_member(value, &["hasScreenshot"]) != Some(true) {
        return None;
    }
    let name = text_member(value, &["screenshotFileName"])
        .map_or_else(String::new, |name| printable_file_name(&name));
    let media_type = match media_type_of_name(&name) {
        image_type if image_type.starts_with("image/") => image_type,
        _ => "image/png",
    };
    Some(Attachment {
        kind: AttachmentKind::Screenshot,
        source_id: text_member(value, &["id", "assertionId"])?,
        media_type: media_type.to_owned(),
        name,
        size: number_member(value, &["screenshotFileSize"]),
    })
}

fn read_attachment(value: &Value) -> Option<Attachment> {
    let id = text_member(value, &["id", "attachmentId"])?;
    let name = text_member(value, &["fileName", "name", "originalFileName"]);
    let name = name.map_or_else(String::new, |name| printable_file_name(&name));
    let content_type = text_member(value, &["contentType", "mimeType", "mediaType"]);
    let content_type =
        content_type.filter(|it| it.contains('/') && it.bytes().all(|b| b.is_ascii_graphic()));
    Some(Attachment {
        kind: AttachmentKind::File,
        media_type: content_type.unwrap_or_else(|| media_type_of_name(&name).to_owned()),
        name: if name.is_empty() { "attachment".to_owned() } else { name },
        source_id: id,
        size: number_member(value, &["size", "fileSize", "contentLength"]),
    })
}

/// Returns a file name without its path, with escapes for characters that cannot be shown, cut to
/// [`FILE_NAME_CHARS_MAX`]. Returns an empty name if it would consist only of full stops.
fn printable_file_name(text: &str) -> String {
    let name = text.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let name: String = printable(name).chars().take(FILE_NAME_CHARS_MAX).collect();
    if name.chars().all(|c| c == '.') { String::new() } else { name }
}

fn media_type_of_name(name: &str) -> &'static str {
    let extension =
        name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
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

fn read_robot_log(value: &Value) -> Option<RobotLog> {
    Some(RobotLog {
        at: text_member(value, &["timeStamp", "time", "created"]),
        level: text_member(value, &["level", "logLevel"]),
        message: text_member(value, &["message", "rawMessage", "text"])?,
    })
}

fn read_requirement(value: &Value) -> Option<Requirement> {
    Some(Requirement {
        id: text_member(value, &["id", "requirementId"])?,
        key: text_member(value, &["objKey", "key"]),
        name: text_member(value, &["name"]),
    })
}

fn read_label(value: &Value) -> Option<String> {
    let plain = value.as_str().map(str::to_owned);
    plain.or_else(|| {
        let names = ["name", "label", "labelName", "displayName", "value"];
        text_member(value, &names)
            .or_else(|| text_member(find_member(value, &["label"])?, &["name"]))
    })
}

fn read_custom_field(value: &Value) -> Option<CustomField> {
    let name =
        text_member(value, &["name", "customFieldName", "fieldName", "customFieldDefinitionName"]);
    let definition = || find_member(value, &["customFieldDefinition", "definition"]);
    Some(CustomField {
        name: name.or_else(|| text_member(definition()?, &["name"]))?,
        value: json_text_member(value, &["value", "customFieldValue", "values"])?,
    })
}

fn read_step(value: &Value) -> Option<Step> {
    let step = Step {
        description: text_member(value, &["description", "stepDescription", "name"]),
        expected: text_member(value, &["expectedBehavior", "expectedResult", "expected"]),
        actual: text_member(value, &["actualBehavior", "actualResult", "actual", "comment"]),
        result: text_member(value, &["result", "status"]),
    };
    (step != Step::default()).then_some(step)
}

fn read_past_result(value: &Value) -> Option<PastResult> {
    let past = PastResult {
        test_execution_id: text_member(value, &["testExecutionId"]).map(|id| id.to_lowercase()),
        result: text_member(value, &["result"]),
        finished_at: text_member(value, &["executionEnd", "executionFinished", "executionStart"]),
    };
    (past != PastResult::default()).then_some(past)
}
