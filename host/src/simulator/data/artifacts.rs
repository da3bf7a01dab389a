//! Generates the parts of a test case log: arguments, assertions, lines of the robot's log, files
//! and steps. They depend only on the log, its test case and the seed.

use serde_json::json;
use uuid::Uuid;

use super::super::dto::{Assertion, Attachment, RobotLogLine, TestCaseLog, TestStep, TestStepLog};
use super::super::png;
use super::super::seed::{Seed, format_time_with_ticks};
use super::{CaseData, DataSet, ProjectData};

/// A password in the arguments of tests and in the robot's log. A report in a tracker must not
/// contain it.
const PASSWORD: &str = "S3cr3t-of-the-test!";
/// Number of passed assertions in each automated log.
const PASSED_ASSERTIONS: usize = 2;
/// The levels from which the level of a line in the robot's log is chosen.
const ROBOT_LOG_LEVELS: [&str; 4] = ["Trace", "Info", "Info", "Warn"];

pub(in super::super) struct File {
    pub(in super::super) name: String,
    pub(in super::super) content_type: String,
    pub(in super::super) bytes: Vec<u8>,
}

/// As JSON.
pub(super) fn input_arguments(variation: Option<&String>) -> String {
    json!({
        "BaseUrl": "https://portal.example",
        "UserName": "tester",
        "Password": PASSWORD,
        "Data": { "Row": variation, "ApiToken": "tok_0123456789abcdef" },
    })
    .to_string()
}

pub(super) fn output_arguments(seed: Seed, key: &str) -> String {
    json!({ "OrderId": seed.number_below("order", key, 100_000), "Seconds": 60.5 }).to_string()
}

impl DataSet {
    /// Returns the assertions of an automated log. If the test failed, the last one has failed.
    pub(in super::super) fn assertions(&self, log: &TestCaseLog) -> Vec<Assertion> {
        if log.execution_type == "Manual" {
            return Vec::new();
        }
        let id = |index: usize| self.seed.id("assertion", format!("{}/{index}", log.id));
        let passed = (0..PASSED_ASSERTIONS).map(|index| Assertion {
            id: id(index),
            test_case_log_id: log.id,
            message: format!("Verification {} passed", index + 1),
            payload: None,
            has_screenshot: false,
            succeeded: true,
            screenshot_file_size: Some(0),
            screenshot_file_name: None,
        });
        let failed = log.info.iter().map(|message| {
            let id = id(PASSED_ASSERTIONS);
            Assertion {
                id,
                test_case_log_id: log.id,
                message: message.clone(),
                payload: Some(json!({ "Expression": "actual == expected" }).to_string()),
                has_screenshot: true,
                succeeded: false,
                screenshot_file_size: Some(png::screenshot(id.as_u128()).len()),
                screenshot_file_name: Some(format!("{}.png", id.simple())),
            }
        });
        passed.chain(failed).collect()
    }

    /// The oldest line is the first.
    pub(in super::super) fn robot_logs(
        &self,
        case: &CaseData,
        log: &TestCaseLog,
    ) -> Vec<RobotLogLine> {
        if log.execution_type == "Manual" {
            return Vec::new();
        }
        let lines = case.content.robot_log_lines;
        let start = log.execution_start.parse::<jiff::Timestamp>().map(|start| start.as_second());
        let start = start.unwrap_or_default();
        let line = |index: usize| {
            let (level, message) = match (index, &log.info) {
                (0, _) => ("Info".to_owned(), format!("{} execution started", case.dto.name)),
                (3, _) => ("Trace".to_owned(), format!("Typing user=tester password={PASSWORD}")),
                (_, Some(info)) if index + 2 == lines => ("Error".to_owned(), info.clone()),
                (_, Some(_)) if index + 1 == lines => ("Fatal".to_owned(), sample_stack_trace()),
                _ => (
                    self.seed.choose("level", format!("{}/{index}", log.id), &ROBOT_LOG_LEVELS),
                    format!(
                        "Step {index}: clicked <button id='b{index}'>Größe & *Preis*</button> 🙂"
                    ),
                ),
            };
            let offset = i64::try_from(index * 60 / lines.max(1)).unwrap_or_default();
            RobotLogLine {
                time_stamp: format_time_with_ticks(start + offset, index),
                level,
                message,
            }
        };
        (0..lines).map(line).collect()
    }

    /// Only a failed log has attachments.
    pub(in super::super) fn attachments(
        &self,
        case: &CaseData,
        log: &TestCaseLog,
    ) -> Vec<Attachment> {
        let attachment = |(id, name): (Uuid, &String)| Attachment {
            id,
            object_id: log.id,
            object_type: "TestCaseLog".to_owned(),
            file_name: name.clone(),
            file_size: Some(file_content(id, name).len() as u64),
            content_type: content_type(name).to_owned(),
        };
        file_names(self.seed, case, log).map(attachment).collect()
    }

    pub(in super::super) fn file<'a>(
        &self,
        project: &ProjectData,
        mut logs: impl Iterator<Item = &'a TestCaseLog>,
        id: Uuid,
    ) -> Option<File> {
        let (_, name) = logs.find_map(|log| {
            let mut names = file_names(self.seed, project.case(log.test_case_id)?, log);
            names.find(|(attachment, _)| *attachment == id)
        })?;
        let (content_type, bytes) = (content_type(name).to_owned(), file_content(id, name));
        Some(File { name: name.clone(), content_type, bytes })
    }

    /// Returns the steps of a manual test case.
    pub(in super::super) fn steps(&self, case: &CaseData) -> Vec<TestStep> {
        let steps = case.content.steps.iter().zip(0..);
        let step = |((description, expected), order_no): (&(&str, &str), usize)| TestStep {
            id: self.seed.id("step", format!("{}/{order_no}", case.dto.id)),
            test_case_id: case.dto.id,
            order_no,
            description: (*description).to_owned(),
            expected_result: (*expected).to_owned(),
        };
        steps.map(step).collect()
    }

    /// In a failed log, the last step has failed.
    pub(in super::super) fn step_logs(
        &self,
        case: &CaseData,
        log: &TestCaseLog,
    ) -> Vec<TestStepLog> {
        let steps = self.steps(case);
        let last = steps.len().saturating_sub(1);
        let step_log = |step: TestStep| {
            let comment = log.info.clone().filter(|_| step.order_no == last);
            TestStepLog {
                id: self.seed.id("step-log", format!("{}/{}", log.id, step.order_no)),
                test_case_log_id: log.id,
                test_step_id: step.id,
                order_no: step.order_no,
                description: step.description,
                expected_result: step.expected_result,
                result: if comment.is_some() { "Failed" } else { "Passed" }.to_owned(),
                has_error: comment.is_some(),
                comment,
                has_attachment: false,
            }
        };
        steps.into_iter().map(step_log).collect()
    }
}

/// Only a failed log has files.
fn file_names<'a>(
    seed: Seed,
    case: &'a CaseData,
    log: &TestCaseLog,
) -> impl Iterator<Item = (Uuid, &'a String)> {
    let (log, has_files) = (log.id, log.has_error);
    let names = case.content.files.iter().filter(move |_| has_files).zip(0usize..);
    names.map(move |(name, index)| (seed.id("attachment", format!("{log}/{index}")), name))
}

fn sample_stack_trace() -> String {
    "System.Exception: Verification failed\r\n   at Portal.Tests.Main.Execute()\r\n\
     \u{20}  at Robot.Runner.<Run>d__4.MoveNext()"
        .to_owned()
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html",
        "json" | "har" => "application/json",
        "log" | "txt" => "text/plain",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// Generates an image, or a text that contains the id of the file.
fn file_content(id: Uuid, name: &str) -> Vec<u8> {
    match content_type(name) {
        "image/png" => png::screenshot(id.as_u128()),
        "text/html" => {
            format!("<!doctype html><title>{id}</title><p>The page at the failure.").into()
        }
        "application/json" => {
            json!({ "id": id, "lines": (0..50).collect::<Vec<_>>() }).to_string().into()
        }
        _ => (0..200).map(|line| format!("{id} line {line} äöü\r\n")).collect::<String>().into(),
    }
}
