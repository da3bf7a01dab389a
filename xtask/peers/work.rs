//! The work that the compared programs in Rust do for a request: they parse a failed test and
//! return a defect, or return the counts of a project, as JSON in Test Manager's format.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailedTest {
    test_execution_id: String,
    test_case_id: String,
    variation_id: Option<String>,
    link_to_test_case_log: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Defect<'a> {
    id: &'a str,
    name: String,
    description: Option<&'a str>,
    status: Option<&'a str>,
    priority: Option<&'a str>,
    link: String,
    link_label: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    total_defects: i32,
    critical_defects: i32,
    moderate_defects: i32,
    open_defects: i32,
    closed_defects: i32,
    critical_defects_link: Option<String>,
}

/// Returns the defect of a failed test as JSON.
pub(crate) fn create(body: &[u8]) -> Option<Vec<u8>> {
    let test: FailedTest = serde_json::from_slice(body).ok()?;
    let key = test.test_execution_id.get(..26)?;
    let defect = Defect {
        id: key,
        name: format!("{} failed", test.test_case_id),
        description: test.link_to_test_case_log.as_deref(),
        status: test.variation_id.as_deref(),
        priority: None,
        link: format!("http://tracker.test/{key}"),
        link_label: key,
    };
    serde_json::to_vec(&defect).ok()
}

pub(crate) fn count(project: &str) -> Option<Vec<u8>> {
    let open = i32::try_from(project.len()).ok()?;
    let counts = Counts {
        total_defects: open,
        critical_defects: 0,
        moderate_defects: 0,
        open_defects: open,
        closed_defects: 0,
        critical_defects_link: None,
    };
    serde_json::to_vec(&counts).ok()
}
