//! Routing rules: the first rule whose conditions are met decides which settings a create uses, and
//! every search for its defect uses the same settings. Missing data never prevents a defect.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jackfield_tests::{
    Connection, Exchange, Guest, Redmine, Reply, ScriptedServer, Setup, TestHost, failed_test,
    merge, wait_for, with_database,
};
use serde_json::{Value, json};

use crate::test_manager::{CASE, EXECUTION, answer_without_faults, connection};

/// A Test Manager whose test cases all have these labels.
fn labelled(labels: &'static [&'static str]) -> ScriptedServer {
    ScriptedServer::start(move |exchange| {
        if is_about(exchange, "/objectlabels/") {
            let labels: Vec<_> = labels.iter().map(|name| json!({"name": name})).collect();
            return Reply::json(200, &json!(labels).to_string());
        }
        answer_without_faults(exchange, "http://127.0.0.1:9/end.png")
    })
}

fn is_about(exchange: &Exchange<'_>, part: &str) -> bool {
    exchange.request.target.contains(part)
}

/// A failed test that Test Manager knows.
fn known_test() -> Value {
    let link = "https://tm.example/SHOP/testexecution-results/1/2";
    merge(
        failed_test(),
        json!({"testExecutionId": EXECUTION, "testCaseId": CASE, "linkToTestCaseLog": link}),
    )
}

/// A new failed test of the project that Test Manager knows.
fn new_test() -> Value {
    merge(failed_test(), json!({"linkToTestCaseLog": known_test()["linkToTestCaseLog"]}))
}

/// Creates the connection "qa" of the connector `by-project`, with the project "own" and these
/// rules.
fn connect(
    host: &TestHost,
    tracker: &ScriptedServer,
    test_manager: &ScriptedServer,
    rules: &Value,
) -> Connection {
    let mut body = connection(tracker, test_manager);
    body["connector"] = json!("by-project");
    body["settings"] = json!({"url": tracker.url(), "project": "own"});
    body["report"] = json!({"routing": rules});
    Connection::from_json(&host.admin().json("POST", "/connections", &body).expect(201))
}

fn host() -> TestHost {
    Setup::new().guests(["by-project"]).start()
}

fn targets(server: &ScriptedServer, method: &str) -> Vec<String> {
    let requests = server.requests().into_iter();
    requests.filter(|it| it.method == method).map(|it| it.target).collect()
}

/// The log of the first run of an event, as one text.
fn log(run: &Value) -> String {
    run["log"].to_string()
}

#[test]
fn a_rule_sends_a_defect_to_another_project_of_the_tracker() {
    let redmine = Redmine::shared();
    let (own, pay) = (redmine.project(), redmine.project());
    let test_manager = labelled(&["Checkout"]);
    let host = Setup::new().plugin("redmine", &Guest::example("redmine")).start();
    let tracker = ScriptedServer::proxy_to(redmine.address());
    let mut body = connection(&tracker, &test_manager);
    body["connector"] = json!("redmine");
    body["settings"] = own.settings(&tracker.url());
    body["secrets"] = redmine.secrets();
    body["report"] = json!({"routing": [
        {"label": "checkout", "settings": {"project": pay.id}},
    ]});
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    let answer = host.create(&Connection::from_json(&created), &known_test());
    let run = host.run_of(&answer);
    answer.assert_status(200);
    let issue = pay.only_issue();
    assert_eq!(own.issues().len(), 0);
    assert!(issue.subject.contains("Pay"), "{issue:?}");
    assert!(log(&run).contains(&format!("routing rule 1 fits: project = \\\"{}", pay.id)), "{run}");

    // The steps after the create send requests of their own, in the background.
    let calls = run["calls"].as_array().expect("calls").iter();
    let calls = calls.filter(|call| call["origin"] == test_manager.url());
    let asked: Vec<_> = calls.map(|call| call["path"].to_string()).collect();
    let once: BTreeSet<_> = asked.iter().collect();
    assert_eq!(once.len(), asked.len(), "a part was requested twice: {asked:#?}");
    let labels = asked.iter().filter(|path| path.contains("/objectlabels/"));
    assert_eq!(labels.count(), 1, "{asked:#?}");
}

#[test]
fn the_first_rule_that_fits_wins_and_later_ones_cost_no_request() {
    let test_manager = labelled(&["smoke", "checkout"]);
    let tracker = ScriptedServer::start(|_| Reply::created(7));
    let host = host();
    let rules = json!([
        {"label": "checkout", "project": "OTHER", "settings": {"project": "other"}},
        {"label": "checkout", "settings": {"project": "pay"}},
        {"label": "smoke", "settings": {"project": "smoke"}},
        {"requirement": "SHOP:9", "settings": {"project": "shop"}},
    ]);
    let connection = connect(&host, &tracker, &test_manager, &rules);
    let answer = host.create(&connection, &new_test());
    let run = host.run_of(&answer);
    answer.assert_status(200);
    assert_eq!(targets(&tracker, "POST"), ["/pay/issues"]);
    assert!(log(&run).contains("routing rule 2 fits"), "{run}");
    let asked = targets(&test_manager, "GET");
    let part = |target: &String| target.split("/api/v2").nth(1).unwrap_or_default().to_owned();
    let asked: Vec<_> = asked.iter().map(part).collect();
    assert_eq!(asked.len(), 2, "only the project and the labels: {asked:#?}");
    assert!(asked[1].contains("/objectlabels/"), "{asked:#?}");
    let calls = run["calls"].as_array().expect("calls").iter();
    let shown = calls.filter(|call| call["origin"] == test_manager.url());
    assert_eq!(shown.count(), 3, "the event shows them, with the token: {run}");
    // A repeat reads no rule.
    host.create(&connection, &new_test()).assert_status(200);
    let before = test_manager.requests().len();
    host.create(&connection, &known_test()).assert_status(200);
    host.create(&connection, &known_test()).assert_status(200);
    let project_is_kept = 1;
    assert_eq!(test_manager.requests().len(), before + project_is_kept);
}

/// The write went to the project of a rule. So do the search, the control search and the second
/// write, also after a restart; the rules are read once for each write.
#[test]
fn after_a_lost_answer_the_search_uses_the_routed_settings() {
    let test_manager = labelled(&["checkout"]);
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let mut host =
        Setup::new().config("[limits]\ncreate_answer_ms = 2000").guests(["by-project"]).start();
    let rules = json!([{"label": "checkout", "settings": {"project": "pay"}}]);
    let connection = connect(&host, &tracker, &test_manager, &rules);
    let before = new_test();
    host.create(&connection, &before).assert_status(200);

    let lost = new_test();
    tracker.set_script(|exchange| match exchange.request.is_post() {
        true => Reply::reset(),
        false => Reply::json(200, "[]"),
    });
    host.create(&connection, &lost).assert_problem(503, "tracker-unavailable");
    host.restart();
    let asked = test_manager.requests().len();
    tracker.set_script(|exchange| {
        let found = exchange.request.target.starts_with("/pay/search?");
        Reply::json(200, if found { r#"[{"id":42}]"# } else { "[]" })
    });
    let adopted = host.create_until_final(&connection, &lost).expect("the defect is found");
    assert_eq!((adopted["id"].as_str(), tracker.posts()), (Some("42"), 2));
    assert_eq!(test_manager.requests().len(), asked, "a search asks Test Manager nothing");
    assert!(targets(&tracker, "GET").iter().all(|target| target.starts_with("/pay/search?")));
}

/// A control search uses defects of the same routed settings, and a search that counts leads to a
/// second write in the same project.
#[test]
fn a_control_search_of_a_routed_defect_runs_in_its_project() {
    let test_manager = labelled(&["checkout"]);
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let host =
        Setup::new().config("[limits]\ncreate_answer_ms = 2000").guests(["by-project"]).start();
    let rules = json!([{"label": "checkout", "settings": {"project": "pay"}}]);
    let connection = connect(&host, &tracker, &test_manager, &rules);
    host.create(&connection, &new_test()).assert_status(200);
    let marker = tracker.last_request().text();

    let lost = new_test();
    tracker.set_script(|exchange| match exchange.request.is_post() {
        true => Reply::new(404, ""),
        false => Reply::json(200, "[]"),
    });
    host.create(&connection, &lost).assert_problem(503, "tracker-unavailable");
    let control = format!("/pay/search?{marker}");
    tracker.set_script(move |exchange| match exchange.request.is_post() {
        true => Reply::created(2),
        false if exchange.request.target == control => Reply::json(200, r#"[{"id":1}]"#),
        false => Reply::json(200, "[]"),
    });
    let created = host.create_until_final(&connection, &lost).expect("it is created again");
    assert_eq!(created["id"], "2");
    assert_eq!(targets(&tracker, "POST"), vec!["/pay/issues"; 3]);
    assert!(targets(&tracker, "GET").iter().all(|target| target.starts_with("/pay/search?")));
}

/// The search that measures the index delay runs in the project of the rule, too.
#[test]
fn the_index_delay_of_a_routed_defect_is_measured_in_its_project() {
    let test_manager = labelled(&["checkout"]);
    let created_at = Mutex::new(None::<Instant>);
    let tracker = ScriptedServer::start(move |exchange| {
        let mut created_at = created_at.lock().expect("no script panicked");
        if exchange.request.is_post() {
            *created_at = Some(Instant::now());
            return Reply::created(42);
        }
        let is_indexed = created_at.is_some_and(|at| at.elapsed() > Duration::from_secs(1));
        let found = is_indexed && is_about(exchange, "/pay/search?");
        Reply::json(200, if found { r#"[{"id":42}]"# } else { "[]" })
    });
    let host = Setup::new().config("sweep_ms = 300").guests(["by-project"]).start();
    let rules = json!([{"label": "checkout", "settings": {"project": "pay"}}]);
    let connection = connect(&host, &tracker, &test_manager, &rules);
    host.create(&connection, &new_test()).assert_status(200);
    wait_for("the lag to be measured", 20, || {
        host.connection("qa")["index_lag_ms"].as_u64().filter(|lag| *lag > 0)
    });
}

#[test]
fn a_rule_without_its_data_does_not_fit_and_the_defect_says_so() {
    let redmine = Redmine::shared();
    let (own, pay) = (redmine.project(), redmine.project());
    let test_manager = ScriptedServer::start(|exchange| {
        if is_about(exchange, "/objectlabels/") {
            return Reply::new(403, "");
        }
        answer_without_faults(exchange, "http://127.0.0.1:9/end.png")
    });
    let host = Setup::new().plugin("redmine", &Guest::example("redmine")).start();
    let tracker = ScriptedServer::proxy_to(redmine.address());
    let mut body = connection(&tracker, &test_manager);
    body["connector"] = json!("redmine");
    body["settings"] = own.settings(&tracker.url());
    body["secrets"] = redmine.secrets();
    body["report"] = json!({
        "description_template": "only this",
        "routing": [{"label": "checkout", "settings": {"project": pay.id}}],
    });
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    let answer = host.create(&Connection::from_json(&created), &known_test());
    let run = host.run_of(&answer);
    answer.assert_status(200);
    assert_eq!(pay.issues().len(), 0);
    let text = own.only_issue().description;
    for part in ["Some routing rules could not be checked", "the labels: Test Manager answered 403"]
    {
        assert!(text.contains(part), "{part} in {text}");
        assert!(log(&run).contains(part), "{part} in {run}");
    }
    let preview = json!({"failed_test": {"test_execution_id": EXECUTION, "test_case_id": CASE,
        "link": known_test()["linkToTestCaseLog"]}});
    let shown = host.admin().json("POST", "/connections/qa/preview", &preview).expect(200);
    assert_eq!(shown["settings"], json!({}));
    assert!(shown["description"].to_string().contains("could not be checked"), "{shown}");
}

/// Test Manager hangs: the defect is created with the connection's own settings after half of the
/// time.
#[test]
fn a_test_manager_that_hangs_delays_a_rule_and_prevents_no_defect() {
    let test_manager = labelled(&["checkout"]);
    let tracker = ScriptedServer::start(|_| Reply::created(7));
    let host = Setup::new()
        .config("lease_ms = 5000\n[limits]\ncreate_answer_ms = 14000")
        .guests(["by-project"])
        .start();
    let rules = json!([{"label": "checkout", "settings": {"project": "pay"}}]);
    let connection = connect(&host, &tracker, &test_manager, &rules);
    let gate = test_manager.hold_requests(|request| request.target.contains("/objectlabels/"));
    let answer = host.create(&connection, &new_test());
    gate.open();
    let run = host.run_of(&answer);
    answer.assert_status(200);
    assert_eq!(targets(&tracker, "POST"), ["/own/issues"]);
    assert!(log(&run).contains("Test Manager did not answer in time"), "{run}");
}

/// Settings that another version of Jackfield stored, or that a person changed in the database.
#[test]
fn stored_settings_of_a_report_that_cannot_be_used_prevent_no_defect() {
    let redmine = Redmine::shared();
    let own = redmine.project();
    let test_manager = labelled(&["checkout"]);
    let mut host = Setup::new().plugin("redmine", &Guest::example("redmine")).start();
    let tracker = ScriptedServer::proxy_to(redmine.address());
    let other = ScriptedServer::start(|_| Reply::created(7));
    let mut body = connection(&tracker, &test_manager);
    body["connector"] = json!("redmine");
    body["settings"] = own.settings(&tracker.url());
    body["secrets"] = redmine.secrets();
    body["report"] = json!({"mask": {"names": ["user"]}});
    let created = host.admin().json("POST", "/connections", &body).expect(201);
    let connection = Connection::from_json(&created);

    let to_other = json!({"routing": [{"settings": {"url": other.url()}}]});
    for (stored, note, is_asked) in [
        (
            json!({"mask": {"hide": ["user"]}}),
            "report settings of the connection cannot be read",
            false,
        ),
        (to_other, "Routing rule 1 does not fit this version", true),
    ] {
        assert!(host.stop().success());
        with_database(&host.data_folder(), |database| {
            database.execute("UPDATE connections SET report = ?", [stored.to_string()])
        });
        host.restart();
        let (asked, before) = (test_manager.requests().len(), own.issues().len());
        let answer = host.create(&connection, &new_test());
        let run = host.run_of(&answer);
        answer.assert_status(200);
        assert_eq!(test_manager.requests().len() > asked, is_asked, "{stored}");
        let issues = own.issues();
        assert_eq!(issues.len(), before + 1, "{stored}");
        assert!(issues[before].description.contains(note), "{:?}", issues[before]);
        assert!(log(&run).contains(note), "{run}");
    }
    assert_eq!(other.requests().len(), 0);
}

/// The counts name their project, and the projects to which rules send defects that are not
/// counted.
#[test]
fn counts_name_the_project_that_they_are_about() {
    let redmine = Redmine::shared();
    let (own, pay) = (redmine.project(), redmine.project());
    let host = Setup::new().plugin("redmine", &Guest::example("redmine")).start();
    let connection = host.connect("qa", "redmine", own.settings(&redmine.url), redmine.secrets());
    own.add(1);
    let counted = |project: &str| {
        let answer = host.kpis(&connection, project);
        let event = host.event_of(&answer);
        assert_eq!(answer.expect(200)["openDefects"], 1);
        event["detail"].as_str().expect("a text").to_owned()
    };
    let in_own = format!("project = \"{}\"", own.id);
    assert_eq!(counted("p"), format!("counted in {in_own}"));
    let rules = json!([{"label": "checkout", "settings": {"project": pay.id}}]);
    let edit = json!({"report": {"routing": rules}});
    host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
    let elsewhere =
        format!("not counted: defects that routing rules create with project = \"{}\"", pay.id);
    let place = format!("{in_own}; {elsewhere}");
    for _ in 0..2 {
        assert_eq!(counted("p"), format!("counted in {place}"), "new and cached counts");
    }
    let tried = host.admin().json("POST", "/connections/qa/try", &json!({})).expect(200);
    let steps = tried["steps"].as_array().expect("steps").clone();
    let step = steps.into_iter().find(|step| step["name"] == "check").expect("the step");
    assert_eq!((&step["note"], &step["error"]), (&json!(place), &Value::Null));
}
