//! The stand-in has only paths, parameters and members of Test Manager's API that are known. The
//! list is in `known_api.json`.

use std::collections::BTreeSet;

use jackfield_tests::{Answer, Client, SimulatedTestManager, root};
use serde_json::Value;

const KNOWN_API: &str = "tests/tests/promises/simulator/known_api.json";

/// The known API, and the names in it that answers have shown.
struct Known {
    api: Value,
    answered: BTreeSet<String>,
}

impl Known {
    fn names(&self, list: &str) -> Vec<String> {
        let list = self.api[list].as_array().expect("a list");
        list.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    /// Checks the members of one record.
    fn check_record(&mut self, path: &str, record: &str, value: &Value) {
        let known = [&self.api["records"][record], &self.api["assumed_records"][record]];
        let known: Vec<_> =
            known.iter().filter_map(|list| list.as_array()).flatten().cloned().collect();
        assert!(!known.is_empty(), "{path}: the list has no record {record}");
        let members = value.as_object().unwrap_or_else(|| panic!("{path}: no {record}: {value}"));
        for (member, value) in members {
            let is_known = known.iter().any(|known| known == member);
            assert!(is_known, "{path}: no public client shows {record}.{member}");
            if member == "testCase" {
                self.check_record(path, "TestCase", value);
            }
        }
        assert!(members.contains_key("id") || known.len() == 3, "{path}: a {record} has no id");
        self.answered.insert(path.to_owned());
    }

    /// Checks an answer: a record, a list, a page of records, or a file.
    fn check(&mut self, path: &str, answer: &Answer) {
        let expected = self.api["answers"][path].as_str();
        let expected =
            expected.unwrap_or_else(|| panic!("no answer of {path} is listed")).to_owned();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let (form, record) = expected.split_once(' ').unwrap_or((&expected, ""));
        if form == "file" {
            assert!(answer.header("content-disposition").is_some(), "{path} is not a file");
            self.answered.insert(path.to_owned());
            return;
        }
        let value = answer.json();
        let rows = match form {
            "one" => return self.check_record(path, record, &value),
            "list" => &value,
            "paged" => {
                self.check_names(path, "PagingNumbers", &value["paging"]);
                self.check_names(path, "Paging", &value);
                &value["data"]
            }
            "requirements" => {
                self.check_names(path, "RequirementPaging", &value);
                &value["data"]
            }
            other => panic!("{path}: no form {other}"),
        };
        for row in rows.as_array().unwrap_or_else(|| panic!("{path}: no list: {value}")) {
            self.check_record(path, record, row);
        }
    }

    fn check_names(&self, path: &str, record: &str, value: &Value) {
        let known: BTreeSet<_> = self.api["records"][record]
            .as_array()
            .expect("a record")
            .iter()
            .map(|name| name.as_str().expect("a name"))
            .collect();
        let members = value.as_object().unwrap_or_else(|| panic!("{path}: no {record}"));
        assert_eq!(members.keys().map(String::as_str).collect::<BTreeSet<_>>(), known, "{path}");
    }
}

/// The path with the ids of a failed test.
fn with_ids(path: &str, failed: &Value, ids: &[(&str, String)]) -> String {
    let mut path = path.to_owned();
    let id = |member: &str| failed[member].as_str().expect("an id").to_owned();
    let object = if path.contains("/attachments/") { "testCaseLog" } else { "TestCase" };
    for (part, value) in [
        ("{projectId}", id("project")),
        ("{projectPrefix}", id("prefix")),
        ("{testExecutionId}", id("execution")),
        ("{testCaseId}", id("case")),
        ("{objectId}", id("case")),
        ("{objectType}", object.to_owned()),
    ] {
        path = path.replace(part, &value);
    }
    for (part, value) in ids {
        path = path.replace(part, value);
    }
    let own = path.split('/').nth(4).unwrap_or_default();
    let meant = match (own, path.contains("/projects/")) {
        (_, true) => "project",
        ("testexecutions" | "orchestrator", _) => "execution",
        ("testcases" | "teststeps", _) => "case",
        _ => "log",
    };
    path.replace("{id}", &id(meant))
}

/// Ids that the paths need and that only other answers contain.
fn other_ids(api: &Client, failed: &Value) -> Vec<(&'static str, String)> {
    let get = |path: &str| api.get(&with_ids(path, failed, &[])).expect(200);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let log = get("/api/v2/{projectId}/testcaselogs/{id}");
    let assertions = get("/api/v2/{projectId}/testcaselogs/{id}/assertions");
    let last = assertions["data"].as_array().and_then(|rows| rows.last()).cloned();
    vec![
        ("{assertionId}", text(&last.unwrap_or_default()["id"])),
        ("{objKey}", text(&log["testCase"]["objKey"])),
        ("{defectId}", text(&log["defectId"])),
    ]
}

#[test]
fn the_stand_in_serves_only_what_public_clients_show() {
    let tracker = super::page::webhook_server();
    let simulator = SimulatedTestManager::start(&[
        "--fault",
        "rate-limit=100000",
        "--webhook-url",
        &tracker.url(),
    ]);
    let text = std::fs::read_to_string(root().join(KNOWN_API)).expect("the list");
    let api: Value = serde_json::from_str(&text).expect("JSON");
    let mut known = Known { api, answered: BTreeSet::new() };
    let mut parameters = known.names("parameters");
    parameters.extend(known.names("assumed_parameters"));
    let served = simulator.page().get("/simulator/api").expect(200)["paths"].take();
    let served = served.as_array().expect("a list");
    for route in served {
        let path = route["path"].as_str().expect("a path");
        let methods = known.api["paths"][path].as_str();
        let methods = methods.unwrap_or_else(|| panic!("Test Manager has no path {path}"));
        assert!(methods.split(' ').any(|method| route["method"] == method), "{path}: {methods}");
        for parameter in route["parameters"].as_array().expect("a list") {
            let is_known = parameters.iter().any(|known| parameter == known.as_str());
            assert!(is_known, "{path}: no public client sends the parameter {parameter}");
        }
    }
    let client = simulator.api("");
    let failed: Vec<_> =
        ["SHOP", "BANK", "ODD"].iter().flat_map(|prefix| newest(&simulator, prefix)).collect();
    for failed in &failed {
        super::page::create_defect(&simulator, failed);
        let ids = other_ids(&client, failed);
        for route in served {
            let path = route["path"].as_str().expect("a path");
            visit(&mut known, &client, path, failed, &ids);
        }
    }
    let unseen = served.iter().filter_map(|route| route["path"].as_str());
    let unseen: Vec<_> = unseen.filter(|path| !known.answered.contains(*path)).collect();
    assert!(unseen.is_empty(), "never answered with a record: {unseen:?}");
}

/// The failed tests of a project's newest execution.
fn newest(simulator: &SimulatedTestManager, prefix: &str) -> Vec<Value> {
    let failed = simulator.failed_tests(prefix);
    let execution = failed[0]["execution"].clone();
    failed.into_iter().filter(|log| log["execution"] == execution).collect()
}

/// Requests one path, if the failed test has the record that the path is about.
fn visit(known: &mut Known, client: &Client, path: &str, failed: &Value, ids: &[(&str, String)]) {
    let url = with_ids(path, failed, ids);
    let log = failed["log"].as_str().expect("an id");
    let answer = match path {
        "/api/v2/{projectId}/teststeplogs" => client.get(&format!("{url}?testCaseLogId={log}")),
        path if path.ends_with("/download") => return visit_files(known, client, path, failed),
        path if path.contains("{assertionId}") && ids[0].1.is_empty() => return,
        path if path.ends_with("/testsets/{id}") || path.ends_with("/requirements/{id}") => {
            let list = client.get(url.rsplit_once('/').expect("a path").0).expect(200);
            let one = list["data"][0]["id"].as_str().expect("an id").to_owned();
            client.get(&url.replace(log, &one))
        }
        path if path.contains("/defects/{id}") => client.get(&url.replace(log, &ids[2].1)),
        _ => client.get(&url),
    };
    known.check(path, &answer);
}

fn visit_files(known: &mut Known, client: &Client, path: &str, failed: &Value) {
    let all = "/api/v2/{projectId}/attachments/{objectType}/{id}/all";
    let files = client.get(&with_ids(all, failed, &[])).expect(200);
    for file in files.as_array().expect("a list") {
        let id = file["id"].as_str().expect("an id").to_owned();
        known.check(path, &client.get(&with_ids(path, failed, &[("{id}", id)])));
    }
}
