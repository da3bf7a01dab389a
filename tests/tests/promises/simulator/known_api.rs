//! The stand-in has only those paths, parameters and members of Test Manager's API that the file
//! `known_api.json` lists.

use std::collections::BTreeSet;

use jackfield_tests::{Answer, Client, SimulatedTestManager, root};
use serde_json::Value;

const KNOWN_API_FILE: &str = "tests/tests/promises/simulator/known_api.json";

struct KnownApi {
    api: Value,
    answered_paths: BTreeSet<String>,
}

impl KnownApi {
    fn names(&self, list: &str) -> Vec<String> {
        let list = self.api[list].as_array().expect("a list");
        list.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    /// Checks that all members of a record are known, and that the record has an id. A record with
    /// three known members needs no id: ServerInfo and RobotLog. Marks the path as answered.
    fn check_record(&mut self, path: &str, record: &str, value: &Value) {
        let known_members = [&self.api["records"][record], &self.api["assumed_records"][record]];
        let known_members: Vec<_> =
            known_members.iter().filter_map(|list| list.as_array()).flatten().cloned().collect();
        assert!(!known_members.is_empty(), "{path}: {KNOWN_API_FILE} has no record {record}");
        let members = value.as_object().unwrap_or_else(|| panic!("{path}: no {record}: {value}"));
        for (member, value) in members {
            let is_known = known_members.iter().any(|known| known == member);
            assert!(is_known, "{path}: no public client shows {record}.{member}");
            if member == "testCase" {
                self.check_record(path, "TestCase", value);
            }
        }
        assert!(
            members.contains_key("id") || known_members.len() == 3,
            "{path}: a {record} has no id"
        );
        self.answered_paths.insert(path.to_owned());
    }

    /// Checks an answer: a record, a list, a page of records, or a file.
    fn check(&mut self, path: &str, answer: &Answer) {
        let expected = self.api["answers"][path].as_str();
        let expected = expected
            .unwrap_or_else(|| panic!("{KNOWN_API_FILE} has no answer of {path}"))
            .to_owned();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let (form, record) = expected.split_once(' ').unwrap_or((&expected, ""));
        if form == "file" {
            assert!(answer.header("content-disposition").is_some(), "{path} is not a file");
            self.answered_paths.insert(path.to_owned());
            return;
        }
        let value = answer.json();
        let rows = match form {
            "one" => return self.check_record(path, record, &value),
            "list" => &value,
            "paged" => {
                self.check_members(path, "PagingNumbers", &value["paging"]);
                self.check_members(path, "Paging", &value);
                &value["data"]
            }
            "requirements" => {
                self.check_members(path, "RequirementPaging", &value);
                &value["data"]
            }
            other => panic!("{path}: unknown form {other}"),
        };
        for row in rows.as_array().unwrap_or_else(|| panic!("{path}: no list: {value}")) {
            self.check_record(path, record, row);
        }
    }

    /// Checks that an object has exactly the members of this record.
    fn check_members(&self, path: &str, record: &str, value: &Value) {
        let known_members: BTreeSet<_> = self.api["records"][record]
            .as_array()
            .expect("a record")
            .iter()
            .map(|name| name.as_str().expect("a name"))
            .collect();
        let members = value.as_object().unwrap_or_else(|| panic!("{path}: no {record}"));
        assert_eq!(
            members.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            known_members,
            "{path}"
        );
    }
}

/// Replaces the placeholders of a path with the ids of a failed test, and with these other ids.
fn fill_in_ids(path: &str, failed: &Value, ids: &[(&str, String)]) -> String {
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
    let resource = path.split('/').nth(4).unwrap_or_default();
    let member = match (resource, path.contains("/projects/")) {
        (_, true) => "project",
        ("testexecutions" | "orchestrator", _) => "execution",
        ("testcases" | "teststeps", _) => "case",
        _ => "log",
    };
    path.replace("{id}", &id(member))
}

/// Reads further ids, which some paths contain, from answers about the failed test.
fn ids_from_answers(api: &Client, failed: &Value) -> Vec<(&'static str, String)> {
    let get = |path: &str| api.get(&fill_in_ids(path, failed, &[])).expect(200);
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
fn the_stand_in_serves_only_the_known_api() {
    let tracker = super::page::start_webhook_server();
    let simulator = SimulatedTestManager::start(&[
        "--fault",
        "rate-limit=100000",
        "--webhook-url",
        &tracker.url(),
    ]);
    let file = std::fs::read_to_string(root().join(KNOWN_API_FILE)).expect("the list");
    let api: Value = serde_json::from_str(&file).expect("JSON");
    let mut known = KnownApi { api, answered_paths: BTreeSet::new() };
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
    let failed: Vec<_> = ["SHOP", "BANK", "ODD"]
        .iter()
        .flat_map(|prefix| newest_failed_tests(&simulator, prefix))
        .collect();
    for failed in &failed {
        super::page::create_defect(&simulator, failed);
        let ids = ids_from_answers(&client, failed);
        for route in served {
            let path = route["path"].as_str().expect("a path");
            check_path(&mut known, &client, path, failed, &ids);
        }
    }
    let unanswered = served.iter().filter_map(|route| route["path"].as_str());
    let unanswered: Vec<_> =
        unanswered.filter(|path| !known.answered_paths.contains(*path)).collect();
    assert!(unanswered.is_empty(), "paths that were never answered with a record: {unanswered:?}");
}

/// Returns the failed tests of a project's newest execution.
fn newest_failed_tests(simulator: &SimulatedTestManager, prefix: &str) -> Vec<Value> {
    let failed = simulator.failed_tests(prefix);
    let execution = failed[0]["execution"].clone();
    failed.into_iter().filter(|log| log["execution"] == execution).collect()
}

/// Requests a path and checks the answer. Skips a path whose record the failed test does not have.
fn check_path(
    known: &mut KnownApi,
    client: &Client,
    path: &str,
    failed: &Value,
    ids: &[(&str, String)],
) {
    let url = fill_in_ids(path, failed, ids);
    let log = failed["log"].as_str().expect("an id");
    let answer = match path {
        "/api/v2/{projectId}/teststeplogs" => client.get(&format!("{url}?testCaseLogId={log}")),
        path if path.ends_with("/download") => return check_files(known, client, path, failed),
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

fn check_files(known: &mut KnownApi, client: &Client, path: &str, failed: &Value) {
    let all = "/api/v2/{projectId}/attachments/{objectType}/{id}/all";
    let files = client.get(&fill_in_ids(all, failed, &[])).expect(200);
    for file in files.as_array().expect("a list") {
        let id = file["id"].as_str().expect("an id").to_owned();
        known.check(path, &client.get(&fill_in_ids(path, failed, &[("{id}", id)])));
    }
}
