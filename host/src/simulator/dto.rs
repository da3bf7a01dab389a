//! The records of the API, with the members that public clients of Test Manager declare. Members
//! that no public client shows are assumed. As in .NET, a missing value is written as null, except
//! the sizes of files.
//!
//! `known_api.json` lists what is known or assumed of the real API; a test compares it with these
//! members.

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Audit {
    pub(super) created: String,
    pub(super) created_by: String,
    pub(super) updated: String,
    pub(super) updated_by: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Project {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) project_prefix: String,
    pub(super) is_authorization_enabled: bool,
    pub(super) is_active: bool,
    pub(super) is_sap_configured: bool,
    #[serde(flatten)]
    pub(super) audit: Audit,
}

/// A requirement, to which test cases are assigned.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Requirement {
    pub(super) id: Uuid,
    pub(super) project_id: Uuid,
    pub(super) obj_key: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) container_id: Option<Uuid>,
    pub(super) foreign_reference: Option<String>,
    pub(super) connector_requirement_id: Option<String>,
    #[serde(flatten)]
    pub(super) audit: Audit,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestCase {
    pub(super) id: Uuid,
    pub(super) project_id: Uuid,
    pub(super) obj_key: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) version: String,
    pub(super) pre_condition: Option<String>,
    pub(super) input_params: Option<String>,
    pub(super) automation_id: Option<Uuid>,
    pub(super) automation_test_case_name: Option<String>,
    pub(super) automation_project_name: Option<String>,
    pub(super) container_id: Option<Uuid>,
    pub(super) foreign_reference: Option<String>,
    pub(super) connector_test_case_id: Option<String>,
    #[serde(flatten)]
    pub(super) audit: Audit,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestSet {
    pub(super) id: Uuid,
    pub(super) project_id: Uuid,
    pub(super) obj_key: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) version: String,
    pub(super) number_of_test_cases: usize,
    pub(super) source: String,
    pub(super) source_details: Option<String>,
    pub(super) external_test_set_id: Option<String>,
    pub(super) enable_coverage: bool,
    pub(super) enforce_execution_order: bool,
    #[serde(flatten)]
    pub(super) audit: Audit,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestExecution {
    pub(super) id: Uuid,
    pub(super) project_id: Uuid,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) test_set_id: Uuid,
    pub(super) test_set_obj_key: String,
    pub(super) execution_start: String,
    pub(super) execution_finished: String,
    pub(super) reporting_date: Option<String>,
    pub(super) source: String,
    pub(super) source_details: Option<String>,
    pub(super) enable_coverage: bool,
    pub(super) enforce_execution_order: bool,
    pub(super) status: String,
    pub(super) has_tests_from_multiple_automation_projects: bool,
    pub(super) execution_type: String,
    pub(super) run_id: usize,
    pub(super) duration: u64,
    pub(super) test_set_schedule_id: Option<Uuid>,
    #[serde(flatten)]
    pub(super) audit: Audit,
}

/// The result of a test case, or of one of its variations, in an execution.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestCaseLog {
    pub(super) id: Uuid,
    pub(super) project_id: Uuid,
    pub(super) test_execution_id: Uuid,
    pub(super) test_case_id: Uuid,
    pub(super) test_case: TestCase,
    pub(super) variation_id: Option<String>,
    pub(super) result: String,
    pub(super) original_result: Option<String>,
    pub(super) business_result: String,
    pub(super) has_error: bool,
    pub(super) info: Option<String>,
    pub(super) execution_type: String,
    pub(super) execution_start: String,
    pub(super) execution_end: String,
    pub(super) executed_by: String,
    pub(super) robot_name: Option<String>,
    pub(super) host_machine_name: Option<String>,
    pub(super) runtime_type: Option<String>,
    pub(super) input_arguments: Option<String>,
    pub(super) output_arguments: Option<String>,
    pub(super) job_key: Option<Uuid>,
    pub(super) automation_project_name: Option<String>,
    pub(super) automation_test_case_name: Option<String>,
    pub(super) test_case_version: String,
    pub(super) detail_link: Option<String>,
    pub(super) defect_id: Option<Uuid>,
    pub(super) run_id: usize,
    pub(super) pre_condition: Option<String>,
    pub(super) post_condition: Option<String>,
    pub(super) is_post_condition_met: Option<bool>,
    pub(super) due_date: Option<String>,
}

/// An assertion in an automated test, with its result.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Assertion {
    pub(super) id: Uuid,
    pub(super) test_case_log_id: Uuid,
    pub(super) message: String,
    pub(super) payload: Option<String>,
    pub(super) has_screenshot: bool,
    pub(super) succeeded: bool,
    /// `None`: the answer does not have this member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) screenshot_file_size: Option<usize>,
    pub(super) screenshot_file_name: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RobotLogLine {
    pub(super) time_stamp: String,
    pub(super) level: String,
    pub(super) message: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    pub(super) id: Uuid,
    pub(super) object_id: Uuid,
    pub(super) object_type: String,
    pub(super) file_name: String,
    /// `None`: the answer does not have this member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_size: Option<u64>,
    pub(super) content_type: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestStep {
    pub(super) id: Uuid,
    pub(super) test_case_id: Uuid,
    pub(super) order_no: usize,
    pub(super) description: String,
    pub(super) expected_result: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestStepLog {
    pub(super) id: Uuid,
    pub(super) test_case_log_id: Uuid,
    pub(super) test_step_id: Uuid,
    pub(super) order_no: usize,
    pub(super) description: String,
    pub(super) expected_result: String,
    pub(super) comment: Option<String>,
    pub(super) result: String,
    pub(super) has_error: bool,
    pub(super) has_attachment: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Label {
    pub(super) id: Uuid,
    pub(super) object_id: Uuid,
    pub(super) object_type: String,
    pub(super) name: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CustomFieldValue {
    pub(super) id: Uuid,
    pub(super) object_id: Uuid,
    pub(super) object_type: String,
    pub(super) name: String,
    pub(super) value: String,
}

/// A defect in the tracker, as Test Manager stores it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Defect {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) priority: Option<String>,
    pub(super) status: Option<String>,
    pub(super) link: String,
    pub(super) link_label: String,
    pub(super) sync_status: String,
    #[serde(flatten)]
    pub(super) audit: Audit,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct RequestedPage {
    pub(super) skip: usize,
    pub(super) top: usize,
}

impl RequestedPage {
    /// The first page is 1.
    fn page_number(self) -> usize {
        self.skip / self.top.max(1) + 1
    }

    fn page_count(self, total: usize) -> usize {
        total.div_ceil(self.top.max(1))
    }

    /// Returns the answer in the format of most lists of Test Manager.
    pub(super) fn list_answer(self, total: usize, data: Vec<Value>) -> Value {
        json!({
            "paging": {
                "total": total,
                "page": self.page_number(),
                "pages": self.page_count(total),
                "pageSize": self.top,
                "returned": data.len(),
                "previousPage": self.skip > 0,
                "nextPage": self.skip + data.len() < total,
            },
            "data": data,
        })
    }

    /// Returns the answer in the format of the list of requirements.
    pub(super) fn requirements_answer(self, total: usize, data: Vec<Value>) -> Value {
        json!({
            "totalPages": self.page_count(total),
            "totalItems": total,
            "currentPage": self.page_number(),
            "maxPageSize": self.top,
            "hasPreviousPage": self.skip > 0,
            "hasNextPage": self.skip + data.len() < total,
            "data": data,
        })
    }
}
