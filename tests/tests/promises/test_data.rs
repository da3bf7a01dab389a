//! A connector reads the failed test through `report` and `test-manager`, after a person has
//! consented to this.

use jackfield_tests::{
    Connection, Gate, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test,
};
use serde_json::{Value, json};

use crate::test_manager::{CASE, EXECUTION, TOKEN, connection, files, test_manager};

/// A server with the connector `reports`, its tracker, and a Test Manager without faults.
struct Reporting {
    host: TestHost,
    tracker: ScriptedServer,
    files: ScriptedServer,
    test_manager: ScriptedServer,
}

impl Reporting {
    fn start(setup: Setup) -> Self {
        let files = files();
        let test_manager = test_manager(&files);
        let host = setup.guests(["reports"]).start();
        Self { host, tracker: ScriptedServer::start(|_| Reply::created(7)), files, test_manager }
    }

    /// A connection with credentials for Test Manager.
    #[track_caller]
    fn connect(&self) -> Connection {
        let mut body = connection(&self.tracker, &self.test_manager);
        body["connector"] = json!("reports");
        body["settings"] = json!({"url": self.tracker.url()});
        body["test_manager"]["asset_origins"] = json!([self.files.url()]);
        body["report"] = json!({"fields": [{"field": "cf_1", "text": "{{ test_case.name }}"}]});
        let created = self.host.admin().json("POST", "/connections", &body).expect(201);
        Connection::from_json(&created)
    }

    /// Creates the defect of the failed test that Test Manager knows; returns the answer's text and
    /// the run of the event.
    #[track_caller]
    fn create(&self, connection: &Connection) -> (String, Value) {
        let mut test = failed_test();
        test["testExecutionId"] = json!(EXECUTION);
        test["testCaseId"] = json!(CASE);
        test["linkToTestCaseLog"] = json!("https://tm.example/SHOP/testexecution-results/1/2");
        let answer = self.host.create(connection, &test);
        let run = self.host.run_of(&answer);
        (answer.expect(200)["description"].as_str().expect("a text").to_owned(), run)
    }

    /// The bodies of the requests to a path of the tracker.
    fn sent(&self, path: &str) -> Vec<Vec<u8>> {
        let requests = self.tracker.requests().into_iter();
        requests.filter(|request| request.target == path).map(|request| request.body).collect()
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_connector_files_what_test_manager_knows_with_its_attachments() {
    let reporting = Reporting::start(Setup::new());
    let (text, run) = reporting.create(&reporting.connect());
    let screenshot = "screenshot end.png image/png: 201 201 4";
    for part in ["Pay", "1 = 2", "cf_1 = Pay", screenshot, "robot-log", "\"result\":\"Failed\""] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains("ErrorCode::Unsupported"), "an unknown markup: {text}");
    assert!(text.contains("inputArguments") && !text.contains("hunter-22"), "unmasked: {text}");
    let line = text.lines().nth(1).expect("the first line of the description");
    let is_marker = |word: &str| word.len() == 26;
    assert!(line.split(|c: char| !c.is_ascii_alphanumeric()).any(is_marker), "{line}");
    assert_eq!(reporting.sent("/issues.json"), [text.as_bytes()]);

    let uploads = reporting.sent("/uploads");
    assert_eq!(uploads[0], b"\x89PNG", "the screenshot as a body");
    let part = b"filename=\"end.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--";
    assert!(contains(&reporting.sent("/parts")[0], part), "the screenshot as a part");

    let calls = run["calls"].as_array().expect("calls");
    let asked = calls.iter().filter(|call| call["origin"] == reporting.test_manager.url());
    assert!(asked.count() >= 4, "the event shows the requests to Test Manager: {calls:?}");
    for request in reporting.tracker.requests() {
        assert!(!format!("{request:?}{}", request.text()).contains(TOKEN), "{request:?}");
    }
}

#[test]
fn without_test_manager_the_report_has_the_ids_and_outside_create_nothing() {
    let reporting = Reporting::start(Setup::new());
    let settings = json!({"url": reporting.tracker.url()});
    let connection = reporting.host.connect("plain", "reports", settings, json!({}));
    let (text, _) = reporting.create(&connection);
    for part in [EXECUTION, CASE, "\nnull\n"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("end.png"), "{text}");
    reporting.connect();
    for name in ["plain", "qa"] {
        let tried =
            reporting.host.admin().json("POST", &format!("/connections/{name}/try"), &json!({}));
        assert_eq!(tried.expect(200)["reached"], "\"\" \"\" 0 0 null", "{name}");
    }
}

#[test]
fn a_test_manager_that_hangs_delays_a_create_by_half_of_its_time_at_most() {
    let setup = Setup::new().config("[limits]\ncreate_answer_ms = 6000");
    let reporting = Reporting::start(setup);
    let connection = reporting.connect();
    let gate: Gate = reporting.test_manager.hold_requests(|_| true);
    let (text, run) = reporting.create(&connection);
    gate.open();
    let missing = "the assertions and the robot's log";
    assert!(text.contains(EXECUTION) && text.contains(missing), "{text}");
    let run_ms = run["usage"]["run_ms"].as_u64().expect("a time");
    assert!((2_000..5_500).contains(&run_ms), "{run_ms} ms");
    assert_eq!(reporting.sent("/issues.json").len(), 1);
}

#[test]
fn a_version_that_asks_for_test_data_needs_consent() {
    let host = Setup::new().plugin("c", &Guest::named("good").with_build(1)).start();
    let tracker = ScriptedServer::start(|_| Reply::created(7));
    let old = host.connect("old", "c", json!({"url": tracker.url()}), json!({}));
    assert_eq!(host.connection("old")["grants"]["test_data"], false);
    host.replace("c", &Guest::named("reports").with_build(2));
    let served = |connection: &Connection| {
        host.run_of(&host.create(connection, &failed_test()))["connector_version"].clone()
    };
    assert_eq!(served(&old), "1.0.1");
    let asks = host.connection("old")["needs_consent"].to_string();
    assert!(asks.contains("read what Test Manager knows of failed tests"), "{asks}");

    let new = host.connect("new", "c", json!({"url": tracker.url()}), json!({}));
    assert_eq!(host.connection("new")["grants"]["test_data"], true);
    assert_eq!(served(&new), "1.0.2");
    let newest = host.connection("old")["newest_sha256"].as_str().expect("a hash").to_owned();
    let words = ["connections", "accept", "old", "--yes", "--sha256", &newest];
    let (accepted, printed) = host.run_cli(&words);
    assert!(accepted && printed.contains("what Test Manager knows"), "{printed}");
    assert_eq!(served(&old), "1.0.2");
}
