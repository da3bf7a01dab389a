//! A connector that does realistic work without a tracker: it parses a page of issues with serde,
//! and `count` also counts them in maps, like a connector does with a tracker's answer.

use std::collections::HashMap;

use jackfield_test_guests::*;
use serde::Deserialize;

struct Realistic;

#[derive(Deserialize)]
struct Page {
    issues: Vec<Issue>,
}

#[derive(Deserialize)]
struct Issue {
    #[expect(dead_code, reason = "read because a tracker sends it")]
    id: u64,
    #[expect(dead_code, reason = "read because a tracker sends it")]
    subject: String,
    status: NamedValue,
    priority: NamedValue,
}

#[derive(Deserialize)]
struct NamedValue {
    name: String,
}

const PAGE: &str = r#"{"issues":[
    {"id":1,"subject":"Login fails","status":{"id":1,"name":"New"},"priority":{"id":4,"name":"Urgent"}},
    {"id":2,"subject":"Wrong total","status":{"id":1,"name":"New"},"priority":{"id":2,"name":"Normal"}},
    {"id":3,"subject":"Slow search","status":{"id":5,"name":"Closed"},"priority":{"id":3,"name":"High"}},
    {"id":4,"subject":"Lost mail","status":{"id":2,"name":"In Progress"},"priority":{"id":3,"name":"High"}}
],"total_count":4,"offset":0,"limit":25}"#;

impl Behaviour for Realistic {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(test: FailedTest, marker: String) -> Result<Defect, Error> {
        let page = parse_page()?;
        let title =
            format!("Test case {} failed, as {} others", test.test_case_id, page.issues.len());
        Ok(defect(&marker, &title))
    }

    fn count(_project: String) -> Result<Counts, Error> {
        let mut by_status: HashMap<String, u32> = HashMap::new();
        let mut by_priority: HashMap<String, u32> = HashMap::new();
        for issue in parse_page()?.issues {
            *by_status.entry(issue.status.name).or_default() += 1;
            *by_priority.entry(issue.priority.name).or_default() += 1;
        }
        let count_of =
            |counts: &HashMap<String, u32>, name: &str| counts.get(name).copied().unwrap_or(0);
        Ok(Counts {
            open: by_status.values().sum::<u32>() - count_of(&by_status, "Closed"),
            closed: count_of(&by_status, "Closed"),
            critical: count_of(&by_priority, "Urgent"),
            moderate: count_of(&by_priority, "High"),
            critical_link: None,
        })
    }
}

fn parse_page() -> Result<Page, Error> {
    serde_json::from_str(PAGE).map_err(|error| self::error(ErrorCode::Internal, error.to_string()))
}

guest!(Realistic);
