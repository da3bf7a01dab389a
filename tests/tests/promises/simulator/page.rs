//! The page of the stand-in: its buttons send the two webhooks, and its links lead to logs.

use jackfield_tests::{Answer, Guest, Reply, ScriptedServer, Setup, SimulatedTestManager};
use serde_json::{Value, json};

use super::{failed_test, id, log_path};

/// A server that answers Create Defect and Defect KPIs as Jackfield does.
pub(super) fn webhook_server() -> ScriptedServer {
    ScriptedServer::start(|exchange| match exchange.request.is_post() {
        true => Reply::json(
            200,
            r##"{"id":"7","name":"A <b>defect</b>","description":"","status":"New","priority":"High",
               "link":"http://tracker.example/issues/7","linkLabel":"#7"}"##,
        ),
        false => Reply::json(200, r#"{"totalDefects":12,"openDefects":5}"#),
    })
}

/// Posts a form as a browser does.
fn post(simulator: &SimulatedTestManager, action: &str, field: &str, value: &str) -> Answer {
    let origin = simulator.printed("page_url").trim_end_matches('/').to_owned();
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("origin", origin.as_str())];
    let form = format!("{field}={value}");
    simulator.page().send("POST", &format!("/simulator/{action}"), &headers, form.as_bytes())
}

/// Clicks Create Defect on a failed test.
pub(super) fn create_defect(simulator: &SimulatedTestManager, failed: &Value) {
    let clicked = post(simulator, "create-defect", "log", id(failed, "log"));
    assert_eq!(clicked.status, 303, "{clicked:?}");
}

/// The row of a failed test on the page.
fn row(simulator: &SimulatedTestManager, failed: &Value) -> String {
    let page = simulator.page().get("/");
    assert_eq!(page.status, 200);
    let begin = format!("<tr id=\"log-{}\">", id(failed, "log"));
    let (_, rest) = page.body.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let end = rest.find("<tr").or_else(|| rest.find("</table>")).unwrap_or(rest.len());
    rest[..end].to_owned()
}

#[test]
fn create_defect_sends_the_documented_body_and_shows_the_link() {
    let tracker = webhook_server();
    let simulator =
        SimulatedTestManager::start(&["--webhook-url", &format!("{}/hooks/t", tracker.url())]);
    let failed = failed_test(&simulator);
    create_defect(&simulator, &failed);
    create_defect(&simulator, &failed);
    let requests = tracker.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("POST", "/hooks/t/defects")
        );
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let expected = json!({
            "testExecutionId": failed["execution"],
            "testCaseId": failed["case"],
            "variationId": failed["variation"],
            "linkToTestCaseLog": failed["link"],
        });
        assert_eq!(body, expected);
    }
    let row = row(&simulator, &failed);
    assert_eq!(row.matches("href=\"http://tracker.example/issues/7\"").count(), 1, "{row}");
    assert!(row.contains("#7 A &lt;b&gt;defect&lt;/b&gt;"), "{row}");

    // The API of the stand-in also returns the defect.
    let api = simulator.api("");
    let log = api.get(&log_path(&failed, "")).expect(200);
    let defect = id(&log, "defectId");
    let defect =
        api.get(&format!("/api/v2/{}/defects/{defect}", id(&failed, "project"))).expect(200);
    assert_eq!(defect["link"], "http://tracker.example/issues/7");
}

#[test]
fn a_refusal_of_the_webhook_is_shown_and_its_link_must_be_of_the_web() {
    let tracker = ScriptedServer::start(|_| {
        let problem = r#"{"type":"/problems/x","title":"t","status":502,"instance":"/events/1",
                         "detail":"No <i>credentials</i>"}"#;
        Reply::json(502, problem)
    });
    let simulator = SimulatedTestManager::start(&[]);
    let failed = failed_test(&simulator);
    create_defect(&simulator, &failed);
    assert!(row(&simulator, &failed).contains("No webhook URL is set"));

    let saved = post(&simulator, "settings", "url", &tracker.url());
    assert_eq!(saved.status, 303);
    create_defect(&simulator, &failed);
    let shown = row(&simulator, &failed);
    assert!(shown.contains("No &lt;i&gt;credentials&lt;/i&gt; (HTTP 502)"), "{shown}");

    tracker.set_script(|_| {
        Reply::json(200, r#"{"id":"1","name":"n","link":"javascript:alert(1)","linkLabel":"l"}"#)
    });
    create_defect(&simulator, &failed);
    let shown = row(&simulator, &failed);
    assert!(shown.contains("l n") && !shown.contains("javascript:"), "{shown}");
    let good = webhook_server();
    assert_eq!(post(&simulator, "settings", "url", &good.url()).status, 303);
    create_defect(&simulator, &failed);
    assert_eq!(post(&simulator, "settings", "url", "http://127.0.0.1:1").status, 303);
    create_defect(&simulator, &failed);
    let shown = row(&simulator, &failed);
    assert!(shown.contains("no server answers") && shown.contains("issues/7\""), "{shown}");
    let refused = post(&simulator, "settings", "url", "javascript:alert(1)");
    assert_eq!(refused.status, 303);
    assert!(simulator.page().get("/").body.contains("was not saved"));
    assert_eq!(post(&simulator, "create-defect", "log", "x").status, 400);
    assert_eq!(post(&simulator, "create-defect", "log", id(&failed, "case")).status, 404);
}

#[test]
fn the_dashboard_shows_the_counts_of_the_kpi_request() {
    let tracker = webhook_server();
    let url = format!("{}/hooks/t", tracker.url());
    let simulator = SimulatedTestManager::start(&["--webhook-url", &url]);
    let project = failed_test(&simulator)["project"].clone();
    let project = project.as_str().expect("an id");
    assert_eq!(post(&simulator, "kpis", "project", project).status, 303);
    let request = tracker.requests().pop().expect("a request");
    let target = format!("/hooks/t/kpis/project/{project}/defectstatus");
    assert_eq!((request.method.as_str(), request.target), ("GET", target));
    let page = simulator.page().get("/").body;
    for (name, number) in [("totalDefects", 12), ("openDefects", 5)] {
        let cells = format!("<bdi>{name}</bdi></th>\n<td><bdi>{number}</bdi></td>");
        assert!(page.contains(&cells), "{name} is missing in {page}");
    }
    assert_eq!(
        post(&simulator, "kpis", "project", "00000000-0000-0000-0000-000000000001").status,
        404
    );
}

#[test]
fn run_again_makes_a_later_execution_with_the_same_failed_tests() {
    let simulator = SimulatedTestManager::start(&[]);
    let failed = failed_test(&simulator);
    let before = simulator.failed_tests("SHOP");
    assert_eq!(post(&simulator, "run-again", "execution", id(&failed, "execution")).status, 303);
    let after = simulator.failed_tests("SHOP");
    let new: Vec<_> = after.iter().filter(|log| !before.contains(log)).collect();
    let again = new.iter().find(|log| log["case"] == failed["case"]).expect("the same test");
    assert_eq!(again["variation"], failed["variation"]);
    assert_ne!(again["execution"], failed["execution"]);
    let api = simulator.api("");
    let started =
        |failed: &Value| api.get(&log_path(failed, "")).expect(200)["executionStart"].take();
    assert!(started(again).as_str() > started(&failed).as_str(), "it is not later");
    let history = format!(
        "/api/v2/{}/testcaselogs/testcase/{}/history",
        id(&failed, "project"),
        id(&failed, "case")
    );
    let history = api.get(&history).expect(200);
    assert_eq!(history["data"][0]["testExecutionId"], again["execution"], "the newest is first");
}

#[test]
fn the_whole_circle_runs_on_one_machine() {
    let host = Setup::new().plugin("instant", &Guest::named("instant")).start();
    let connection = host.connect("qa", "instant", json!({}), json!({}));
    let simulator = SimulatedTestManager::start(&[]);
    let url = format!("{}{}", host.url(), connection.webhook_path);
    assert_eq!(post(&simulator, "settings", "url", &url).status, 303);
    let failed = failed_test(&simulator);
    create_defect(&simulator, &failed);
    let first = row(&simulator, &failed);
    assert!(first.contains("<a href="), "{first}");
    create_defect(&simulator, &failed);
    assert_eq!(row(&simulator, &failed), first, "a second click shows the same defect");
    let defects = host.admin().get("/defects").expect(200);
    assert_eq!(defects["defects"].as_array().map(Vec::len), Some(1), "{defects}");
    assert_eq!(defects["defects"][0]["test_case_id"], failed["case"], "{defects}");
}
