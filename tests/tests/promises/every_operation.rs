//! One test uses each operation of the admin API successfully. It reads the operations from the
//! OpenAPI document, so a new operation makes the test fail until a step uses the operation.

use std::cell::RefCell;
use std::collections::BTreeSet;

use jackfield_tests::{Guest, Reply, ScriptedServer, Setup, TestHost, failed_test, wait_for};
use serde_json::{Value, json};

/// The secret of each connection that needs one.
const SECRET: &str = "k3y-of-the-tracker";

struct Scenario {
    host: TestHost,
    tracker: ScriptedServer,
    /// The ids of the operations that succeeded.
    used_operations: RefCell<BTreeSet<String>>,
    /// Method, path and id of each operation.
    operations: Vec<(String, String, String)>,
}

/// A `{path}` at the end of the template matches one or more segments.
fn matches_template(template: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let (mut expected, mut segments) = (template.split('/').peekable(), path.split('/'));
    while let Some(part) = expected.next() {
        let Some(segment) = segments.next() else { return false };
        if part == "{path}" && expected.peek().is_none() {
            return true;
        }
        if part != segment && !part.starts_with('{') {
            return false;
        }
    }
    segments.next().is_none()
}

fn guest_build(name: &str, number: u32) -> Guest {
    Guest::named(name).with_build(number)
}

impl Scenario {
    fn start() -> Self {
        let tracker = ScriptedServer::start(|exchange| {
            let request = exchange.request;
            match request.target.as_str() {
                "/trackers.json" => Reply::json(200, r#"{"trackers":[{"id":1,"name":"Bug"}]}"#),
                "/counts" => Reply::new(200, "7"),
                _ if request.is_post() => Reply::created(1),
                _ => Reply::json(200, r#"{"issues":[],"total_count":0}"#),
            }
        });
        let host = Setup::new()
            .config("[create]\nin_doubt_s = \"never\"")
            .guests(["good"])
            .plugin("redmine", &Guest::example("redmine"))
            .plugin("asks", &guest_build("asks-more", 1))
            .start();
        let mut scenario =
            Self { host, tracker, used_operations: RefCell::default(), operations: Vec::new() };
        let document = scenario.host.admin().get("/openapi.json").expect(200);
        for (path, methods) in document["paths"].as_object().expect("paths") {
            for (method, description) in methods.as_object().expect("methods") {
                let id = description["operationId"].as_str().expect("an id").to_owned();
                scenario.operations.push((method.to_uppercase(), path.clone(), id));
            }
        }
        scenario
    }

    /// Sends a request that must succeed, and records that its operation was used.
    #[track_caller]
    fn send(&self, method: &str, path: &str, body: &[u8]) -> Value {
        let answer = self.host.admin().send(method, path, &[], body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        let found =
            self.operations.iter().find(|(m, p, _)| m == method && matches_template(p, path));
        let (_, _, id) = found.unwrap_or_else(|| panic!("no operation is {method} {path}"));
        self.used_operations.borrow_mut().insert(id.clone());
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        self.send("GET", path, b"")
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        self.send("POST", path, body.to_string().as_bytes())
    }

    #[track_caller]
    fn delete(&self, path: &str) {
        self.send("DELETE", path, b"");
    }

    fn read_server_state(&self) {
        assert!(self.get("/status")["version"].is_string());
        assert_eq!(self.get("/account")["role"], "admin");
        assert_eq!(self.get("/openapi.json")["openapi"], "3.1.0");
        self.get("/docs");
        assert_eq!(self.get("/connections")["connections"], json!([]));
    }

    fn manage_connectors(&self) {
        for number in [1, 2] {
            let put = self.send("PUT", "/connectors/c", &guest_build("instant", number).bytes);
            assert_eq!(put["sha256"], guest_build("instant", number).sha256());
        }
        let rolled_back = self.post("/connectors/c/rollback", &json!({}));
        assert_eq!(rolled_back["sha256"], guest_build("instant", 1).sha256());
        assert_eq!(self.get("/connectors/c")["sha256"], guest_build("instant", 1).sha256());
        self.delete("/connectors/c");
        let remaining = self.get("/connectors")["connectors"].clone();
        assert_eq!(remaining.as_array().map(Vec::len), Some(3), "{remaining}");
    }

    fn manage_connections(&self) {
        let url = self.tracker.url();
        let choices_body =
            json!({"setting": "tracker", "settings": {"url": url}, "secrets": {"api-key": SECRET}});
        let listed = self.post("/connectors/redmine/choices", &choices_body);
        assert_eq!(listed["choices"][0]["label"], "Bug");
        let body = json!({"name": "issues", "connector": "redmine", "secrets": {"api-key": SECRET},
            "settings": {"url": url, "project": "qa", "tracker": "Bug"}});
        self.post("/connections", &body);
        let listed = self.post("/connections/issues/choices", &json!({"setting": "tracker"}));
        assert_eq!(listed["choices"][0]["label"], "Bug");
        let body = json!({"name": "qa", "connector": "good", "settings": {"url": url}});
        assert!(self.post("/connections", &body)["webhook_url"].is_string());
        assert!(self.post("/connections/qa/try", &json!({}))["steps"].is_array());
        let edit = json!({"index_delay_s": 1}).to_string();
        let edited = self.send("PATCH", "/connections/qa", edit.as_bytes());
        assert_eq!(edited["index_delay_s"], 1);
        let path = json!({"path": "/tm/new", "kind": "create-defect"});
        let mapped = self.post("/connections/qa/paths", &path);
        assert_eq!(mapped["webhook_paths"]["create_defect"], json!(["/tm/new"]));
        let rotated = self.post("/connections/qa/rotate-token", &json!({}));
        assert!(rotated["webhook_url"].is_string());
        let id = "5b8f5c4e-7c1d-4e0b-9a43-0c2d8a6f1e01";
        let test = json!({"test_execution_id": id, "test_case_id": id});
        let preview = self.post("/connections/qa/preview", &json!({"failed_test": test}));
        assert!(preview["title"].is_string());
        assert_eq!(self.post("/connections/qa/pause", &json!({}))["paused"], true);
        assert_eq!(self.post("/connections/qa/resume", &json!({}))["paused"], false);
    }

    fn export_and_apply_connections(&self) {
        let mut file = self.get("/export");
        file["connections"]["qa"]["index_delay_s"] = json!(2);
        let applied = self.post("/apply", &file);
        assert_eq!(self.get("/connections/qa")["index_delay_s"], 2, "{applied}");
    }

    fn accept_new_version(&self) {
        let body = json!({"name": "old", "connector": "asks", "secrets": {"key": SECRET},
            "settings": {"url": self.tracker.url()}});
        self.post("/connections", &body);
        self.host.replace("asks", &guest_build("asks-more", 2));
        let sha256 = guest_build("asks-more", 2).sha256();
        wait_for("the connection to wait for consent", 20, || {
            self.get("/connections/old")["needs_consent"].is_array().then_some(())
        });
        let accepted = self.post(&format!("/connections/old/accept?sha256={sha256}"), &json!({}));
        assert_eq!(accepted["accepted_sha256"], json!(sha256));
    }

    fn handle_and_replay_events(&self) {
        self.post("/connections/qa/record", &json!({"for_s": 600}));
        let created = self.post("/connections/qa/hook/defects", &failed_test());
        assert_eq!(created["id"], "1");
        let counts = self.get("/connections/qa/hook/kpis/project/7/defectstatus");
        assert_eq!(counts["openDefects"], 7);
        let events = self.get("/events?kind=create-defect")["events"].clone();
        let id = events[0]["id"].as_str().expect("an event");
        assert_eq!(self.get(&format!("/events/{id}"))["outcome"], "created");
        let recording = self.get(&format!("/events/{id}/recording"));
        assert_eq!(recording["runs"].as_array().map(Vec::len), Some(1), "{recording}");
        let posts = self.tracker.posts();
        self.post(&format!("/events/{id}/replay"), &json!({}));
        assert_eq!(self.tracker.posts(), posts, "a replay reached the tracker");
        self.delete("/connections/qa/record");
    }

    fn release_and_resolve_defects(&self) {
        let defects = self.get("/defects")["defects"].clone();
        let id = defects[0]["id"].as_str().expect("a defect").to_owned();
        assert_eq!(self.get(&format!("/defects/{id}"))["state"], "created");
        self.post(&format!("/defects/{id}/release"), &json!({}));
        self.tracker.set_script(|exchange| match exchange.request.is_post() {
            true => Reply::reset(),
            false => Reply::json(200, r#"{"issues":[],"total_count":0}"#),
        });
        let test = failed_test();
        let in_doubt = wait_for("a defect in doubt", 30, || {
            drop(self.host.admin().json("POST", "/connections/qa/hook/defects", &test));
            self.host.defect_in_doubt()
        });
        let path = format!("/defects/{in_doubt}/resolve");
        assert_eq!(self.post(&path, &json!({"adopt": "QA-17"}))["state"], "created");
    }

    fn manage_tokens(&self) {
        let created = self.post("/tokens", &json!({"name": "ann", "role": "viewer"}));
        let listed = self.get("/tokens")["tokens"].clone();
        assert_eq!(listed[0]["name"], "ann", "{listed}");
        self.delete(&format!("/tokens/{}", created["id"].as_str().expect("an id")));
        let log = self.get("/audit")["entries"].clone();
        assert_eq!(log[0]["action"], "token.revoke", "{log}");
    }

    fn delete_connections(&self) {
        for name in ["issues", "old", "qa"] {
            self.delete(&format!("/connections/{name}?force=true"));
        }
        assert_eq!(self.get("/connections")["connections"], json!([]));
    }
}

#[test]
fn one_scenario_uses_every_operation_of_the_admin_api() {
    let scenario = Scenario::start();
    scenario.read_server_state();
    scenario.manage_connectors();
    scenario.manage_connections();
    scenario.export_and_apply_connections();
    scenario.accept_new_version();
    scenario.handle_and_replay_events();
    scenario.release_and_resolve_defects();
    scenario.manage_tokens();
    scenario.delete_connections();
    let used = scenario.used_operations.borrow();
    let unused: Vec<_> =
        scenario.operations.iter().filter(|(_, _, id)| !used.contains(id)).collect();
    assert!(unused.is_empty(), "no step of the scenario uses {unused:?}");
}

#[test]
fn a_path_matches_only_its_own_template() {
    assert!(matches_template("/connections/{id}", "/connections/qa"));
    assert!(matches_template(
        "/connections/{id}/hook/{path}",
        "/connections/qa/hook/kpis/project/7"
    ));
    assert!(matches_template("/events", "/events?kind=kpis"));
    assert!(!matches_template("/connections/{id}", "/connections"));
    assert!(!matches_template("/connections/{id}", "/connections/qa/try"));
    assert!(!matches_template("/connections/{id}/try", "/connections/qa/pause"));
}
