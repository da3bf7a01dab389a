//! A connector reads data about the failed test through the interfaces `report` and `test-manager`,
//! if a person has consented to this.

use jackfield_tests::{
    Connection, Gate, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test,
};
use serde_json::{Value, json};

use crate::test_manager::{
    CASE_ID, EXECUTION_ID, TOKEN, connection_body, start_file_server, start_test_manager,
};

/// A server with the connector `reports`, its tracker, and a fake Test Manager without faults.
struct ReportsFixture {
    host: TestHost,
    tracker: ScriptedServer,
    /// The server to which Test Manager redirects requests for screenshots.
    files: ScriptedServer,
    test_manager: ScriptedServer,
}

impl ReportsFixture {
    fn start(setup: Setup) -> Self {
        let files = start_file_server();
        let test_manager = start_test_manager(&files);
        let host = setup.guests(["reports"]).start();
        Self { host, tracker: ScriptedServer::start(|_| Reply::created(7)), files, test_manager }
    }

    /// Creates the connection "qa", with credentials for Test Manager.
    #[track_caller]
    fn add_connection(&self) -> Connection {
        let mut body = connection_body(&self.tracker, &self.test_manager);
        body["connector"] = json!("reports");
        body["settings"] = json!({"url": self.tracker.url()});
        body["test_manager"]["asset_origins"] = json!([self.files.url()]);
        body["report"] = json!({"fields": [{"field": "cf_1", "text": "{{ test_case.name }}"}]});
        let created = self.host.admin().json("POST", "/connections", &body).expect(201);
        Connection::from_json(&created)
    }

    /// Creates the defect of the failed test whose data the fake Test Manager has. Returns the
    /// description in the answer, and the run of the event.
    #[track_caller]
    fn create(&self, connection: &Connection) -> (String, Value) {
        let mut test = failed_test();
        test["testExecutionId"] = json!(EXECUTION_ID);
        test["testCaseId"] = json!(CASE_ID);
        test["linkToTestCaseLog"] = json!("https://tm.example/SHOP/testexecution-results/1/2");
        let answer = self.host.create(connection, &test);
        let run = self.host.run_of(&answer);
        (answer.expect(200)["description"].as_str().expect("a text").to_owned(), run)
    }

    fn bodies_sent_to(&self, path: &str) -> Vec<Vec<u8>> {
        let requests = self.tracker.requests().into_iter();
        requests.filter(|request| request.target == path).map(|request| request.body).collect()
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_connector_reports_data_and_attachments_of_test_manager() {
    let fixture = ReportsFixture::start(Setup::new());
    let (text, run) = fixture.create(&fixture.add_connection());
    let screenshot = "screenshot end.png image/png: 201 201 4";
    for part in ["Pay", "1 = 2", "cf_1 = Pay", screenshot, "robot-log", "\"result\":\"Failed\""] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains("ErrorCode::Unsupported"), "an unknown markup is accepted: {text}");
    assert!(
        text.contains("inputArguments") && !text.contains("hunter-22"),
        "the password is not masked: {text}"
    );
    let line = text.lines().nth(1).expect("the first line of the description");
    let is_marker = |word: &str| word.len() == 26;
    assert!(line.split(|c: char| !c.is_ascii_alphanumeric()).any(is_marker), "{line}");
    assert_eq!(fixture.bodies_sent_to("/issues.json"), [text.as_bytes()]);

    let uploads = fixture.bodies_sent_to("/uploads");
    assert_eq!(uploads[0], b"\x89PNG", "the screenshot is not the body");
    let part = b"filename=\"end.png\"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--";
    assert!(
        contains(&fixture.bodies_sent_to("/parts")[0], part),
        "the screenshot is not a part of the body"
    );

    let calls = run["calls"].as_array().expect("calls");
    let requests = calls.iter().filter(|call| call["origin"] == fixture.test_manager.url());
    assert!(requests.count() >= 4, "the event lacks requests to Test Manager: {calls:?}");
    for request in fixture.tracker.requests() {
        assert!(!format!("{request:?}{}", request.text()).contains(TOKEN), "{request:?}");
    }
}

#[test]
fn without_test_manager_the_report_has_only_ids_and_a_report_outside_a_create_is_empty() {
    let fixture = ReportsFixture::start(Setup::new());
    let settings = json!({"url": fixture.tracker.url()});
    let connection = fixture.host.add_connection("plain", "reports", settings, json!({}));
    let (text, _) = fixture.create(&connection);
    for part in [EXECUTION_ID, CASE_ID, "\nnull\n"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("end.png"), "{text}");
    fixture.add_connection();
    for name in ["plain", "qa"] {
        let tried =
            fixture.host.admin().json("POST", &format!("/connections/{name}/try"), &json!({}));
        assert_eq!(tried.expect(200)["reached"], "\"\" \"\" 0 0 null", "{name}");
    }
}

#[test]
fn a_test_manager_that_hangs_delays_a_create_by_half_of_its_time_at_most() {
    let setup = Setup::new().config("[limits]\ncreate_answer_ms = 6000");
    let fixture = ReportsFixture::start(setup);
    let connection = fixture.add_connection();
    let gate: Gate = fixture.test_manager.hold_requests(|_| true);
    let (text, run) = fixture.create(&connection);
    gate.open();
    let missing = "the assertions and the robot's log";
    assert!(text.contains(EXECUTION_ID) && text.contains(missing), "{text}");
    let run_ms = run["usage"]["run_ms"].as_u64().expect("a time");
    assert!((2_000..5_500).contains(&run_ms), "{run_ms} ms");
    assert_eq!(fixture.bodies_sent_to("/issues.json").len(), 1);
}

#[test]
fn a_version_that_reads_test_data_needs_consent() {
    let host = Setup::new().plugin("c", &Guest::named("good").with_build(1)).start();
    let tracker = ScriptedServer::start(|_| Reply::created(7));
    let old = host.add_connection("old", "c", json!({"url": tracker.url()}), json!({}));
    assert_eq!(host.connection("old")["grants"]["test_data"], false);
    host.replace("c", &Guest::named("reports").with_build(2));
    let version_of_run = |connection: &Connection| {
        host.run_of(&host.create(connection, &failed_test()))["connector_version"].clone()
    };
    assert_eq!(version_of_run(&old), "1.0.1");
    let needs_consent = host.connection("old")["needs_consent"].to_string();
    assert!(
        needs_consent.contains("read the data of failed tests in Test Manager"),
        "{needs_consent}"
    );

    let new = host.add_connection("new", "c", json!({"url": tracker.url()}), json!({}));
    assert_eq!(host.connection("new")["grants"]["test_data"], true);
    assert_eq!(version_of_run(&new), "1.0.2");
    let newest = host.connection("old")["newest_sha256"].as_str().expect("a hash").to_owned();
    let arguments = ["connections", "accept", "old", "--yes", "--sha256", &newest];
    let (accepted, printed) = host.run_cli(&arguments);
    assert!(
        accepted && printed.contains("may read data of failed tests from Test Manager"),
        "{printed}"
    );
    assert_eq!(version_of_run(&old), "1.0.2");
}
