//! Example data in which every member has a value. Templates are tried with it before they are
//! saved.

use super::{
    Assertion, Attachment, AttachmentKind, CustomField, Execution, Gap, PastResult, Project,
    Requirement, RobotLog, Step, TestCase, TestCaseLog, TestData, TestSet,
};

const EXECUTION: &str = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e01";
const CASE: &str = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e02";
const OTHER: &str = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e03";
const STARTED: &str = "2026-11-28T09:30:00Z";
const FINISHED: &str = "2026-11-28T09:31:30Z";

/// Invented data of one failed test.
#[must_use]
pub fn sample() -> TestData {
    TestData {
        test_execution_id: EXECUTION.to_owned(),
        test_case_id: CASE.to_owned(),
        variation_id: some("express"),
        link: some(&format!(
            "https://testmanager.example.com/SHOP/testexecution-results/{EXECUTION}/{CASE}"
        )),
        project: Some(Project { id: id(), prefix: some("SHOP"), name: some("Web shop") }),
        test_case: Some(test_case()),
        execution: Some(execution()),
        test_set: Some(TestSet { id: id(), key: some("SHOP:40"), name: some("Smoke test") }),
        log: Some(log()),
        assertions: vec![
            assertion("The total is 100.00", true),
            assertion("Expected 19.00 as tax, but 16.00 was shown", false),
        ],
        robot_logs: vec![
            robot_log("Info", "Opening the basket"),
            robot_log("Error", "Verification failed: the tax is 16.00"),
        ],
        steps: vec![Step {
            description: some("Open the basket"),
            expected: some("The tax is 19.00"),
            actual: some("The tax is 16.00"),
            result: some("Failed"),
        }],
        requirements: vec![Requirement { id: id(), key: some("SHOP:7"), name: some("Taxes") }],
        labels: vec!["checkout".to_owned()],
        custom_fields: vec![CustomField { name: "Team".to_owned(), value: "Payments".to_owned() }],
        history: vec![PastResult {
            test_execution_id: some(OTHER),
            result: some("Passed"),
            finished_at: some("2026-11-27T09:31:00Z"),
        }],
        attachments: vec![Attachment {
            kind: AttachmentKind::Screenshot,
            source_id: OTHER.to_owned(),
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
        id: CASE.to_owned(),
        key: some("SHOP:12"),
        name: some("Pay by invoice"),
        description: some("A customer with an account pays by invoice."),
        version: some("1.4.0"),
        pre_condition: some("The customer has an account."),
        automation_project: some("ShopTests"),
        automation_test_case: some("PayByInvoice.xaml"),
    }
}

fn execution() -> Execution {
    Execution {
        id: EXECUTION.to_owned(),
        name: some("Nightly, 28 November"),
        test_set_id: some(OTHER),
        started_at: some(STARTED),
        finished_at: some(FINISHED),
        source: some("Orchestrator"),
        execution_type: some("Automated"),
    }
}

fn log() -> TestCaseLog {
    TestCaseLog {
        id: id(),
        result: some("Failed"),
        info: some("System.Exception: the tax is wrong"),
        started_at: some(STARTED),
        finished_at: some(FINISHED),
        executed_by: some("robot@example.com"),
        robot: some("robot-3"),
        machine: some("test-machine-3"),
        runtime: some("Unattended"),
        input_arguments: some("{\"customer\":\"A-100\",\"amount\":100}"),
        output_arguments: some("{\"tax\":\"16.00\"}"),
        detail_link: some("https://testmanager.example.com/job"),
        defect_id: some("none"),
        post_condition: some("The invoice is stored."),
    }
}

fn assertion(message: &str, succeeded: bool) -> Assertion {
    Assertion {
        id: id(),
        message: some(message),
        payload: some("currency: EUR"),
        succeeded,
        has_screenshot: !succeeded,
    }
}

fn robot_log(level: &str, message: &str) -> RobotLog {
    RobotLog { at: some("2026-11-28T09:31:00Z"), level: some(level), message: message.to_owned() }
}

fn id() -> String {
    OTHER.to_owned()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}
