//! The data of a failed test, as templates read it. All texts are untrusted: people and tests wrote
//! them.
//!
//! Most fields are known from the data types in the public code of Test Manager's clients.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{FailedTest, StringEnum as _, string_enum};

string_enum! {
    /// A part of the data of a failed test. Each part is fetched only if it is needed.
    pub enum Subject {
        /// The project that the failed test belongs to.
        Project = "project",
        /// The test case that failed.
        TestCase = "test-case",
        /// The test execution in which the test case failed.
        TestExecution = "test-execution",
        /// The test case log of this failed test, with its result, times and arguments.
        TestCaseLog = "test-case-log",
        /// The assertions of the test case log, passed and failed.
        Assertions = "assertions",
        /// Lines that the robot logged for the test case.
        RobotLogs = "robot-logs",
        /// The files that are attached to the test case log.
        Attachments = "attachments",
        /// The requirements that the test case is assigned to.
        Requirements = "requirements",
        /// The labels of the test case.
        Labels = "labels",
        /// The custom fields of the test case.
        CustomFields = "custom-fields",
        /// The test set of the test execution.
        TestSet = "test-set",
        /// The results of manual steps.
        Steps = "steps",
        /// Earlier results of the test case.
        History = "history",
    }
}

/// The data of one failed test. A value that is missing or was not fetched is absent or empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestData {
    /// The id of the test execution, from the webhook: a UUID in lower case.
    pub test_execution_id: String,
    /// The id of the test case, from the webhook: a UUID in lower case.
    pub test_case_id: String,
    /// The id of the variation, from the webhook; absent for a test case without variations.
    pub variation_id: Option<String>,
    /// The address of the test case log's page in Test Manager, from the webhook.
    pub link: Option<String>,
    /// The project that the failed test belongs to.
    pub project: Option<Project>,
    /// The test case that failed.
    pub test_case: Option<TestCase>,
    /// The test execution in which the test case failed.
    pub execution: Option<Execution>,
    /// The test set that was executed.
    pub test_set: Option<TestSet>,
    /// The test case log of the failed test, with its result, times and arguments.
    pub log: Option<TestCaseLog>,
    /// The assertions of the test case log, passed and failed.
    pub assertions: Vec<Assertion>,
    /// Lines that the robot logged for the test case, oldest first.
    pub robot_logs: Vec<RobotLog>,
    /// The results of the manual steps.
    pub steps: Vec<Step>,
    /// The requirements that the test case is assigned to.
    pub requirements: Vec<Requirement>,
    /// The labels of the test case.
    pub labels: Vec<String>,
    /// The custom fields of the test case.
    pub custom_fields: Vec<CustomField>,
    /// Earlier results of the test case, newest first.
    pub history: Vec<PastResult>,
    /// The files of the failed test, without their content.
    pub attachments: Vec<Attachment>,
    /// The parts and files that are missing or incomplete, each with the reason.
    pub gaps: Vec<Gap>,
}

impl TestData {
    /// Creates data that contains only the ids and the link from the webhook.
    #[must_use]
    pub fn from_webhook_ids(test: &FailedTest) -> Self {
        Self {
            test_execution_id: test.test_execution_id.to_string(),
            test_case_id: test.test_case_id.to_string(),
            variation_id: test.variation_id().map(str::to_owned),
            link: test.link.clone(),
            ..Self::default()
        }
    }
}

/// A project of Test Manager, to which test cases and executions belong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Project {
    /// The id in Test Manager, a UUID.
    pub id: String,
    /// The short name in keys and links: "SHOP".
    pub prefix: Option<String>,
    /// The full name, as Test Manager shows it.
    pub name: Option<String>,
}

/// The definition of a test case in Test Manager.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestCase {
    /// The id in Test Manager, a UUID.
    pub id: String,
    /// The key that people use, Test Manager's `objKey`: "SHOP:12".
    pub key: Option<String>,
    /// The name that Test Manager shows.
    pub name: Option<String>,
    /// The description, which a person wrote and which may contain markup.
    pub description: Option<String>,
    /// The version of the test case in Test Manager.
    pub version: Option<String>,
    /// The conditions that must be true before the test case runs.
    pub pre_condition: Option<String>,
    /// The name of the automation project that contains the automated test.
    pub automation_project: Option<String>,
    /// The name of the automated test in its project.
    pub automation_test_case: Option<String>,
}

/// A test execution in Test Manager.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Execution {
    /// The id in Test Manager, a UUID.
    pub id: String,
    /// The name that Test Manager shows.
    pub name: Option<String>,
    /// UUID of the test set that was executed; absent for an execution without a test set.
    pub test_set_id: Option<String>,
    /// The start of the execution, RFC 3339.
    pub started_at: Option<String>,
    /// The end of the execution, RFC 3339.
    pub finished_at: Option<String>,
    /// The person or system that started the execution.
    pub source: Option<String>,
    /// The kind of execution, such as manual or automated.
    pub execution_type: Option<String>,
}

/// A test set: the test cases that are executed together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestSet {
    /// The id in Test Manager, a UUID.
    pub id: String,
    /// The key that people use, Test Manager's `objKey`: "SHOP:40".
    pub key: Option<String>,
    /// The name that Test Manager shows.
    pub name: Option<String>,
}

/// The log of one test case in one execution, with one variation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestCaseLog {
    /// The id in Test Manager, a UUID.
    pub id: String,
    /// The result, such as "Failed".
    pub result: Option<String>,
    /// The remark of the robot or the tester, such as the text of an exception.
    pub info: Option<String>,
    /// The start of the test, RFC 3339.
    pub started_at: Option<String>,
    /// The end of the test, RFC 3339.
    pub finished_at: Option<String>,
    /// The person or robot account that ran the test.
    pub executed_by: Option<String>,
    /// The name of the robot that ran the test; absent for a manual test.
    pub robot: Option<String>,
    /// The name of the machine on which the robot ran.
    pub machine: Option<String>,
    /// The type of runtime that the robot used.
    pub runtime: Option<String>,
    /// The arguments that the test was started with, as JSON text.
    pub input_arguments: Option<String>,
    /// The arguments that the test returned, as JSON text.
    pub output_arguments: Option<String>,
    /// Test Manager's `detailLink`, the address of a page with more details.
    pub detail_link: Option<String>,
    /// The id of the defect that Test Manager already has for this log.
    pub defect_id: Option<String>,
    /// The conditions that the test case requires after the test.
    pub post_condition: Option<String>,
}

/// One check that the test made, from the test case log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assertion {
    /// The id in Test Manager, a UUID.
    pub id: String,
    /// The message, which may contain the expected and the actual value.
    pub message: Option<String>,
    /// More details of the assertion, as text or JSON text.
    pub payload: Option<String>,
    /// Whether the assertion passed; false if this is not known.
    pub succeeded: bool,
    /// Whether the assertion has a screenshot.
    pub has_screenshot: bool,
}

/// One line of the robot's log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RobotLog {
    /// The time of the line, RFC 3339.
    pub at: Option<String>,
    /// The log level, such as "Error" or "Warn".
    pub level: Option<String>,
    /// The text of the line.
    pub message: String,
}

/// The result of one step of a manual test.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Step {
    /// The action of the step.
    pub description: Option<String>,
    /// The expected result of the step.
    pub expected: Option<String>,
    /// The actual result of the step.
    pub actual: Option<String>,
    /// The result, such as "Failed" or "Passed".
    pub result: Option<String>,
}

/// A requirement that the test case is assigned to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Requirement {
    /// The id in Test Manager, a UUID.
    pub id: String,
    /// The key that people use, Test Manager's `objKey`: "SHOP:3".
    pub key: Option<String>,
    /// The name that Test Manager shows.
    pub name: Option<String>,
}

/// A custom field of the test case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CustomField {
    /// The name of the field, as Test Manager shows it.
    pub name: String,
    /// The value of the field, converted to a text.
    pub value: String,
}

/// An earlier result of the same test case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PastResult {
    /// UUID of the earlier execution.
    pub test_execution_id: Option<String>,
    /// The result, such as "Passed".
    pub result: Option<String>,
    /// The end of the earlier test, or else its start, RFC 3339.
    pub finished_at: Option<String>,
}

string_enum! {
    /// The kinds of files that can be sent to a tracker.
    pub enum AttachmentKind {
        /// The screenshot of an assertion.
        Screenshot = "screenshot",
        /// The robot's log as a text file, which the host writes.
        RobotLog = "robot-log",
        /// A file that is attached to the test case log.
        File = "file",
    }
}

/// A file of the failed test, without its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// The kind of file.
    #[serde(serialize_with = "serialize_kind", deserialize_with = "deserialize_kind")]
    pub kind: AttachmentKind,
    /// UUID of the file, or of the screenshot's assertion; empty for a robot log.
    #[serde(default)]
    pub source_id: String,
    /// The name of the file, without a path.
    pub name: String,
    /// The media type, such as "image/png".
    pub media_type: String,
    /// The size in bytes; absent if the size is not known before the download.
    pub size: Option<u64>,
}

/// A file or parts of the data that are missing or incomplete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// The file or the parts, such as "the robot's log".
    pub what: String,
    /// The reason, such as "Test Manager answered 403".
    pub why: String,
}

fn serialize_kind<S: Serializer>(kind: &AttachmentKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

fn deserialize_kind<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<AttachmentKind, D::Error> {
    let kind = String::deserialize(deserializer)?;
    AttachmentKind::parse(&kind)
        .ok_or_else(|| D::Error::custom("`kind` must be `screenshot`, `robot-log` or `file`"))
}
