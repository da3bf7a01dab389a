//! Example data in which every member has a value.

use super::{
    Assertion, Attachment, AttachmentKind, CustomField, Execution, Gap, PastResult, Project,
    Requirement, RobotLog, Step, TestCase, TestCaseLog, TestData, TestSet,
};

const EXECUTION_ID: &str = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e01";
const TEST_CASE_ID: &str = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e02";
/// The id of all objects except the execution and the test case.
const OTHER_ID: &str = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e03";
const STARTED_AT: &str = "2026-11-28T09:30:00Z";
const FINISHED_AT: &str = "2026-11-28T09:31:30Z";

/// Returns invented data of one failed test.
#[must_use]
pub fn sample_test_data() -> TestData {
    TestData {
        test_execution_id: EXECUTION_ID.to_owned(),
        test_case_id: TEST_CASE_ID.to_owned(),
        variation_id: some_text("express"),
        link: some_text(&format!(
            "https://testmanager.example.com/SHOP/testexecution-results/\
             {EXECUTION_ID}/{TEST_CASE_ID}"
        )),
        project: Some(Project {
            id: other_id(),
            prefix: some_text("SHOP"),
            name: some_text("Web shop"),
        }),
        test_case: Some(test_case()),
        execution: Some(execution()),
        test_set: Some(TestSet {
            id: other_id(),
            key: some_text("SHOP:40"),
            name: some_text("Smoke test"),
        }),
        log: Some(test_case_log()),
        assertions: vec![
            assertion("The total is 100.00", true),
            assertion("Expected 19.00 as tax, but 16.00 was shown", false),
        ],
        robot_logs: vec![
            robot_log("Info", "Opening the basket"),
            robot_log("Error", "Verification failed: the tax is 16.00"),
        ],
        steps: vec![Step {
            description: some_text("Open the basket"),
            expected: some_text("The tax is 19.00"),
            actual: some_text("The tax is 16.00"),
            result: some_text("Failed"),
        }],
        requirements: vec![Requirement {
            id: other_id(),
            key: some_text("SHOP:7"),
            name: some_text("Taxes"),
        }],
        labels: vec!["checkout".to_owned()],
        custom_fields: vec![CustomField { name: "Team".to_owned(), value: "Payments".to_owned() }],
        history: vec![PastResult {
            test_execution_id: some_text(OTHER_ID),
            result: some_text("Passed"),
            finished_at: some_text("2026-11-27T09:31:00Z"),
        }],
        attachments: vec![Attachment {
            kind: AttachmentKind::Screenshot,
            source_id: OTHER_ID.to_owned(),
            name: "basket.png".to_owned(),
            media_type: "image/png".to_owned(),
            size: Some(48_213),
        }],
        gaps: vec![Gap {
            what: "the file trace.zip".to_owned(),
            why: "Test Manager answered 404".to_owned(),
        }],
    }
}

fn test_case() -> TestCase {
    TestCase {
        id: TEST_CASE_ID.to_owned(),
        key: some_text("SHOP:12"),
        name: some_text("Pay by invoice"),
        description: some_text("A customer with an account pays by invoice."),
        version: some_text("1.4.0"),
        pre_condition: some_text("The customer has an account."),
        automation_project: some_text("ShopTests"),
        automation_test_case: some_text("PayByInvoice.xaml"),
    }
}

fn execution() -> Execution {
    Execution {
        id: EXECUTION_ID.to_owned(),
        name: some_text("Nightly, 28 November"),
        test_set_id: some_text(OTHER_ID),
        started_at: some_text(STARTED_AT),
        finished_at: some_text(FINISHED_AT),
        source: some_text("Orchestrator"),
        execution_type: some_text("Automated"),
    }
}

fn test_case_log() -> TestCaseLog {
    TestCaseLog {
        id: other_id(),
        result: some_text("Failed"),
        info: some_text("System.Exception: the tax is wrong"),
        started_at: some_text(STARTED_AT),
        finished_at: some_text(FINISHED_AT),
        executed_by: some_text("robot@example.com"),
        robot: some_text("robot-3"),
        machine: some_text("test-machine-3"),
        runtime: some_text("Unattended"),
        input_arguments: some_text("{\"customer\":\"A-100\",\"amount\":100}"),
        output_arguments: some_text("{\"tax\":\"16.00\"}"),
        detail_link: some_text("https://testmanager.example.com/job"),
        defect_id: some_text("none"),
        post_condition: some_text("The invoice is stored."),
    }
}

fn assertion(message: &str, succeeded: bool) -> Assertion {
    Assertion {
        id: other_id(),
        message: some_text(message),
        payload: some_text("currency: EUR"),
        succeeded,
        has_screenshot: !succeeded,
    }
}

fn robot_log(level: &str, message: &str) -> RobotLog {
    RobotLog {
        at: some_text("2026-11-28T09:31:00Z"),
        level: some_text(level),
        message: message.to_owned(),
    }
}

fn other_id() -> String {
    OTHER_ID.to_owned()
}

fn some_text(text: &str) -> Option<String> {
    Some(text.to_owned())
}
