//! Tests routing rules. The first rule whose conditions are met decides which settings a create
//! uses. Every search for the defect uses the same settings. Missing data for a rule never prevents
//! a defect.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jackfield_tests::{
    Connection, Exchange, Guest, Redmine, Reply, ScriptedServer, Setup, TestHost, failed_test,
    merge, wait_for, with_database,
};
use serde_json::{Value, json};

use crate::test_manager::{CASE_ID, EXECUTION_ID, answer_without_faults, connection_body};

fn start_test_manager_with_labels(labels: &'static [&'static str]) -> ScriptedServer {
    ScriptedServer::start(move |exchange| {
        if path_contains(exchange, "/objectlabels/") {
            let labels: Vec<_> = labels.iter().map(|name| json!({"name": name})).collect();
            return Reply::json(200, &json!(labels).to_string());
        }
        answer_without_faults(exchange, "http://127.0.0.1:9/end.png")
    })
}

fn path_contains(exchange: &Exchange<'_>, part: &str) -> bool {
    exchange.request.target.contains(part)
}

/// Returns the failed test whose data the fake Test Manager has.
fn stored_test() -> Value {
    let link = "https://tm.example/SHOP/testexecution-results/1/2";
    merge(
        failed_test(),
        json!({"testExecutionId": EXECUTION_ID, "testCaseId": CASE_ID, "linkToTestCaseLog": link}),
    )
}

/// Returns a new failed test, in a project that the fake Test Manager has.
fn new_test() -> Value {
    merge(failed_test(), json!({"linkToTestCaseLog": stored_test()["linkToTestCaseLog"]}))
}

/// Creates the connection "qa" of the connector `by-project`, with the project "own" and these
/// routing rules.
fn add_connection(
    host: &TestHost,
    tracker: &ScriptedServer,
    test_manager: &ScriptedServer,
    rules: &Value,
) -> Connection {
    let mut body = connection_body(tracker, test_manager);
    body["connector"] = json!("by-project");
    body["settings"] = json!({"url": tracker.url(), "project": "own"});
    body["report"] = json!({"routing": rules});
    Connection::from_json(&host.admin().json("POST", "/connections", &body).expect(201))
}

fn start_host() -> TestHost {
    Setup::new().guests(["by-project"]).start()
}

fn request_targets(server: &ScriptedServer, method: &str) -> Vec<String> {
    let requests = server.requests().into_iter();
    requests.filter(|it| it.method == method).map(|it| it.target).collect()
}

fn run_log(run: &Value) -> String {
    run["log"].to_string()
}

#[test]
fn a_rule_sends_a_defect_to_another_project_of_the_tracker() {
    let redmine = Redmine::shared();
    let (own, pay) = (redmine.project(), redmine.project());
    let test_manager = start_test_manager_with_labels(&["Checkout"]);
    let host = Setup::new().plugin("redmine", &Guest::example("redmine")).start();
    let tracker = ScriptedServer::proxy_to(redmine.address());
    let mut body = connection_body(&tracker, &test_manager);
    body["connector"] = json!("redmine");
    body["settings"] = own.settings(&tracker.url());
    body["secrets"] = redmine.secrets();
    body["report"] = json!({"routing": [
        {"label": "checkout", "settings": {"project": pay.id}},
    ]});
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    let answer = host.create(&Connection::from_json(&created), &stored_test());
    let run = host.run_of(&answer);
    answer.assert_status(200);
    let issue = pay.only_issue();
    assert_eq!(own.issues().len(), 0);
    assert!(issue.subject.contains("Pay"), "{issue:?}");
    assert!(
        run_log(&run).contains(&format!("routing rule 1 matches: project = \\\"{}", pay.id)),
        "{run}"
    );

    // Only the requests of this run are counted, because follow-up steps in the background send
    // requests to Test Manager, too.
    let calls = run["calls"].as_array().expect("calls").iter();
    let calls = calls.filter(|call| call["origin"] == test_manager.url());
    let paths: Vec<_> = calls.map(|call| call["path"].to_string()).collect();
    let unique_paths: BTreeSet<_> = paths.iter().collect();
    assert_eq!(
        unique_paths.len(),
        paths.len(),
        "data of Test Manager was requested twice: {paths:#?}"
    );
    let labels = paths.iter().filter(|path| path.contains("/objectlabels/"));
    assert_eq!(labels.count(), 1, "{paths:#?}");
}

#[test]
fn the_first_matching_rule_is_used_and_later_rules_send_no_request() {
    let test_manager = start_test_manager_with_labels(&["smoke", "checkout"]);
    let tracker = ScriptedServer::start(|_| Reply::created(7));
    let host = start_host();
    let rules = json!([
        {"label": "checkout", "project": "OTHER", "settings": {"project": "other"}},
        {"label": "checkout", "settings": {"project": "pay"}},
        {"label": "smoke", "settings": {"project": "smoke"}},
        {"requirement": "SHOP:9", "settings": {"project": "shop"}},
    ]);
    let connection = add_connection(&host, &tracker, &test_manager, &rules);
    let answer = host.create(&connection, &new_test());
    let run = host.run_of(&answer);
    answer.assert_status(200);
    assert_eq!(request_targets(&tracker, "POST"), ["/pay/issues"]);
    assert!(run_log(&run).contains("routing rule 2 matches"), "{run}");
    let requested = request_targets(&test_manager, "GET");
    let api_path = |target: &String| target.split("/api/v2").nth(1).unwrap_or_default().to_owned();
    let requested: Vec<_> = requested.iter().map(api_path).collect();
    assert_eq!(
        requested.len(),
        2,
        "more than the project and the labels was requested: {requested:#?}"
    );
    assert!(requested[1].contains("/objectlabels/"), "{requested:#?}");
    let calls = run["calls"].as_array().expect("calls").iter();
    let requests_in_event = calls.filter(|call| call["origin"] == test_manager.url());
    assert_eq!(
        requests_in_event.count(),
        3,
        "the event must show the three requests, one of them for the token: {run}"
    );
    host.create(&connection, &new_test()).assert_status(200);
    let before = test_manager.requests().len();
    // A repeat does not evaluate the rules.
    host.create(&connection, &stored_test()).assert_status(200);
    host.create(&connection, &stored_test()).assert_status(200);
    // The first click requests only the labels, because the project is cached.
    assert_eq!(test_manager.requests().len(), before + 1);
}

#[test]
fn after_a_lost_answer_the_search_uses_the_routed_settings() {
    let test_manager = start_test_manager_with_labels(&["checkout"]);
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let mut host =
        Setup::new().config("[limits]\ncreate_answer_ms = 2000").guests(["by-project"]).start();
    let rules = json!([{"label": "checkout", "settings": {"project": "pay"}}]);
    let connection = add_connection(&host, &tracker, &test_manager, &rules);
    let earlier_test = new_test();
    host.create(&connection, &earlier_test).assert_status(200);

    let test_with_lost_answer = new_test();
    tracker.set_script(|exchange| match exchange.request.is_post() {
        true => Reply::reset(),
        false => Reply::json(200, "[]"),
    });
    host.create(&connection, &test_with_lost_answer).assert_problem(503, "tracker-unavailable");
    host.restart();
    let requests_before = test_manager.requests().len();
    tracker.set_script(|exchange| {
        let is_found = exchange.request.target.starts_with("/pay/search?");
        Reply::json(200, if is_found { r#"[{"id":42}]"# } else { "[]" })
    });
    let adopted =
        host.create_until_final(&connection, &test_with_lost_answer).expect("the defect is found");
    assert_eq!((adopted["id"].as_str(), tracker.posts()), (Some("42"), 2));
    assert_eq!(
        test_manager.requests().len(),
        requests_before,
        "the search sent a request to Test Manager"
    );
    assert!(
        request_targets(&tracker, "GET").iter().all(|target| target.starts_with("/pay/search?"))
    );
}

/// A control search shows that the search works: it looks for another defect that was created with
/// the same settings.
#[test]
fn a_control_search_for_a_routed_defect_uses_the_project_of_its_rule() {
    let test_manager = start_test_manager_with_labels(&["checkout"]);
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let host =
        Setup::new().config("[limits]\ncreate_answer_ms = 2000").guests(["by-project"]).start();
    let rules = json!([{"label": "checkout", "settings": {"project": "pay"}}]);
    let connection = add_connection(&host, &tracker, &test_manager, &rules);
    host.create(&connection, &new_test()).assert_status(200);
    let marker = tracker.last_request().text();

    let test_with_lost_write = new_test();
    tracker.set_script(|exchange| match exchange.request.is_post() {
        true => Reply::new(404, ""),
        false => Reply::json(200, "[]"),
    });
    host.create(&connection, &test_with_lost_write).assert_problem(503, "tracker-unavailable");
    let control = format!("/pay/search?{marker}");
    tracker.set_script(move |exchange| match exchange.request.is_post() {
        true => Reply::created(2),
        false if exchange.request.target == control => Reply::json(200, r#"[{"id":1}]"#),
        false => Reply::json(200, "[]"),
    });
    let created =
        host.create_until_final(&connection, &test_with_lost_write).expect("the defect is created");
    assert_eq!(created["id"], "2");
    assert_eq!(request_targets(&tracker, "POST"), vec!["/pay/issues"; 3]);
    assert!(
        request_targets(&tracker, "GET").iter().all(|target| target.starts_with("/pay/search?"))
    );
}

#[test]
fn the_index_delay_of_a_routed_defect_is_measured_in_the_project_of_its_rule() {
    let test_manager = start_test_manager_with_labels(&["checkout"]);
    let created_at = Mutex::new(None::<Instant>);
    let tracker = ScriptedServer::start(move |exchange| {
        let mut created_at = created_at.lock().expect("no script panicked");
        if exchange.request.is_post() {
            *created_at = Some(Instant::now());
            return Reply::created(42);
        }
        let is_indexed = created_at.is_some_and(|at| at.elapsed() > Duration::from_secs(1));
        let is_found = is_indexed && path_contains(exchange, "/pay/search?");
        Reply::json(200, if is_found { r#"[{"id":42}]"# } else { "[]" })
    });
    let host = Setup::new().config("sweep_ms = 300").guests(["by-project"]).start();
    let rules = json!([{"label": "checkout", "settings": {"project": "pay"}}]);
    let connection = add_connection(&host, &tracker, &test_manager, &rules);
    host.create(&connection, &new_test()).assert_status(200);
    wait_for("the index delay to be measured", 20, || {
        host.connection("qa")["index_lag_ms"].as_u64().filter(|delay| *delay > 0)
    });
}

#[test]
fn a_rule_whose_data_is_missing_does_not_match_and_the_defect_reports_this() {
    let redmine = Redmine::shared();
    let (own, pay) = (redmine.project(), redmine.project());
    let test_manager = ScriptedServer::start(|exchange| {
        if path_contains(exchange, "/objectlabels/") {
            return Reply::new(403, "");
        }
        answer_without_faults(exchange, "http://127.0.0.1:9/end.png")
    });
    let host = Setup::new().plugin("redmine", &Guest::example("redmine")).start();
    let tracker = ScriptedServer::proxy_to(redmine.address());
    let mut body = connection_body(&tracker, &test_manager);
    body["connector"] = json!("redmine");
    body["settings"] = own.settings(&tracker.url());
    body["secrets"] = redmine.secrets();
    body["report"] = json!({
        "description_template": "only this",
        "routing": [{"label": "checkout", "settings": {"project": pay.id}}],
    });
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    let answer = host.create(&Connection::from_json(&created), &stored_test());
    let run = host.run_of(&answer);
    answer.assert_status(200);
    assert_eq!(pay.issues().len(), 0);
    let text = own.only_issue().description;
    for expected in
        ["Some routing rules could not be checked", "the labels: Test Manager answered 403"]
    {
        assert!(text.contains(expected), "{expected} in {text}");
        assert!(run_log(&run).contains(expected), "{expected} in {run}");
    }
    let preview = json!({"failed_test": {"test_execution_id": EXECUTION_ID, "test_case_id": CASE_ID,
        "link": stored_test()["linkToTestCaseLog"]}});
    let previewed = host.admin().json("POST", "/connections/qa/preview", &preview).expect(200);
    assert_eq!(previewed["settings"], json!({}));
    assert!(previewed["description"].to_string().contains("could not be checked"), "{previewed}");
}

/// If Test Manager does not answer, the rules take at most half of the time until the answer
/// deadline. Then the defect is created with the connection's own settings.
#[test]
fn a_test_manager_that_hangs_delays_a_rule_and_prevents_no_defect() {
    let test_manager = start_test_manager_with_labels(&["checkout"]);
    let tracker = ScriptedServer::start(|_| Reply::created(7));
    let host = Setup::new()
        .config("lease_ms = 5000\n[limits]\ncreate_answer_ms = 14000")
        .guests(["by-project"])
        .start();
    let rules = json!([{"label": "checkout", "settings": {"project": "pay"}}]);
    let connection = add_connection(&host, &tracker, &test_manager, &rules);
    let gate = test_manager.hold_requests(|request| request.target.contains("/objectlabels/"));
    let answer = host.create(&connection, &new_test());
    gate.open();
    let run = host.run_of(&answer);
    answer.assert_status(200);
    assert_eq!(request_targets(&tracker, "POST"), ["/own/issues"]);
    assert!(run_log(&run).contains("Test Manager did not answer in time"), "{run}");
}

/// Another version of Jackfield, or a person who changed the database, may have stored report
/// settings that this version cannot use.
#[test]
fn unusable_stored_report_settings_prevent_no_defect() {
    let redmine = Redmine::shared();
    let own = redmine.project();
    let test_manager = start_test_manager_with_labels(&["checkout"]);
    let mut host = Setup::new().plugin("redmine", &Guest::example("redmine")).start();
    let tracker = ScriptedServer::proxy_to(redmine.address());
    let other = ScriptedServer::start(|_| Reply::created(7));
    let mut body = connection_body(&tracker, &test_manager);
    body["connector"] = json!("redmine");
    body["settings"] = own.settings(&tracker.url());
    body["secrets"] = redmine.secrets();
    body["report"] = json!({"mask": {"names": ["user"]}});
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    let connection = Connection::from_json(&created);

    let to_other = json!({"routing": [{"settings": {"url": other.url()}}]});
    for (stored_report, note, sends_requests) in [
        (
            json!({"mask": {"hide": ["user"]}}),
            "report settings of the connection cannot be read",
            false,
        ),
        (to_other, "Routing rule 1 does not fit this version", true),
    ] {
        assert!(host.stop().success());
        with_database(&host.data_folder(), |database| {
            database.execute("UPDATE connections SET report = ?", [stored_report.to_string()])
        });
        host.restart();
        let (requests_before, issues_before) = (test_manager.requests().len(), own.issues().len());
        let answer = host.create(&connection, &new_test());
        let run = host.run_of(&answer);
        answer.assert_status(200);
        assert_eq!(
            test_manager.requests().len() > requests_before,
            sends_requests,
            "{stored_report}"
        );
        let issues = own.issues();
        assert_eq!(issues.len(), issues_before + 1, "{stored_report}");
        assert!(issues[issues_before].description.contains(note), "{:?}", issues[issues_before]);
        assert!(run_log(&run).contains(note), "{run}");
    }
    assert_eq!(other.requests().len(), 0);
}

/// The event of a count names the project that was counted, and the projects of routing rules,
/// whose defects are not counted.
#[test]
fn the_event_of_a_count_names_the_counted_project() {
    let redmine = Redmine::shared();
    let (own, pay) = (redmine.project(), redmine.project());
    let host = Setup::new().plugin("redmine", &Guest::example("redmine")).start();
    let connection =
        host.add_connection("qa", "redmine", own.settings(&redmine.url), redmine.secrets());
    own.add(1);
    let detail_of_count = |project: &str| {
        let answer = host.kpis(&connection, project);
        let event = host.event_of(&answer);
        assert_eq!(answer.expect(200)["openDefects"], 1);
        event["detail"].as_str().expect("a text").to_owned()
    };
    let in_own = format!("project = \"{}\"", own.id);
    assert_eq!(detail_of_count("p"), format!("counted in {in_own}"));
    let rules = json!([{"label": "checkout", "settings": {"project": pay.id}}]);
    let edit = json!({"report": {"routing": rules}});
    host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
    let not_counted =
        format!("not counted: defects that routing rules create with project = \"{}\"", pay.id);
    let expected = format!("{in_own}; {not_counted}");
    for _ in 0..2 {
        assert_eq!(detail_of_count("p"), format!("counted in {expected}"), "new and cached counts");
    }
    let tried = host.admin().json("POST", "/connections/qa/try", &json!({})).expect(200);
    let steps = tried["steps"].as_array().expect("steps").clone();
    let step = steps.into_iter().find(|step| step["name"] == "check").expect("the step");
    assert_eq!((&step["note"], &step["error"]), (&json!(expected), &Value::Null));
}
