//! Tests the page of the stand-in for Test Manager. There, a person sends the two webhooks and sees
//! the answers.

use jackfield_tests::{Answer, Guest, Reply, ScriptedServer, Setup, SimulatedTestManager};
use serde_json::{Value, json};

use super::{failed_checkout, id, log_path};

/// Starts a server that answers Create Defect and Defect KPIs as Jackfield does.
pub(super) fn start_webhook_server() -> ScriptedServer {
    ScriptedServer::start(|exchange| match exchange.request.is_post() {
        true => Reply::json(
            200,
            r##"{"id":"7","name":"A <b>defect</b>","description":"","status":"New","priority":"High",
               "link":"http://tracker.example/issues/7","linkLabel":"#7"}"##,
        ),
        false => Reply::json(200, r#"{"totalDefects":12,"openDefects":5}"#),
    })
}

/// Posts a form with one field, as a browser does.
fn post_form(simulator: &SimulatedTestManager, action: &str, field: &str, value: &str) -> Answer {
    let origin = simulator.printed_field("page_url").trim_end_matches('/').to_owned();
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("origin", origin.as_str())];
    let form = format!("{field}={value}");
    simulator.page().send("POST", &format!("/simulator/{action}"), &headers, form.as_bytes())
}

pub(super) fn create_defect(simulator: &SimulatedTestManager, failed: &Value) {
    let clicked = post_form(simulator, "create-defect", "log", id(failed, "log"));
    assert_eq!(clicked.status, 303, "{clicked:?}");
}

/// Returns the HTML of a failed test's row on the page.
fn row_of_failed_test(simulator: &SimulatedTestManager, failed: &Value) -> String {
    let page = simulator.page().get("/");
    assert_eq!(page.status, 200);
    let begin = format!("<tr id=\"log-{}\">", id(failed, "log"));
    let (_, rest) = page.body.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let end = rest.find("<tr").or_else(|| rest.find("</table>")).unwrap_or(rest.len());
    rest[..end].to_owned()
}

#[test]
fn create_defect_sends_the_documented_body_and_shows_the_link() {
    let tracker = start_webhook_server();
    let simulator =
        SimulatedTestManager::start(&["--webhook-url", &format!("{}/hooks/t", tracker.url())]);
    let failed = failed_checkout(&simulator);
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
    let row = row_of_failed_test(&simulator, &failed);
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
fn a_refusal_of_the_webhook_is_shown_and_only_http_links_are_accepted() {
    let tracker = ScriptedServer::start(|_| {
        let problem = r#"{"type":"/problems/x","title":"t","status":502,"instance":"/events/1",
                         "detail":"No <i>credentials</i>"}"#;
        Reply::json(502, problem)
    });
    let simulator = SimulatedTestManager::start(&[]);
    let failed = failed_checkout(&simulator);
    create_defect(&simulator, &failed);
    assert!(row_of_failed_test(&simulator, &failed).contains("No webhook URL is set"));

    let saved = post_form(&simulator, "settings", "url", &tracker.url());
    assert_eq!(saved.status, 303);
    create_defect(&simulator, &failed);
    let row_html = row_of_failed_test(&simulator, &failed);
    assert!(row_html.contains("No &lt;i&gt;credentials&lt;/i&gt; (HTTP 502)"), "{row_html}");

    tracker.set_script(|_| {
        Reply::json(200, r#"{"id":"1","name":"n","link":"javascript:alert(1)","linkLabel":"l"}"#)
    });
    create_defect(&simulator, &failed);
    let row_html = row_of_failed_test(&simulator, &failed);
    assert!(row_html.contains("l n") && !row_html.contains("javascript:"), "{row_html}");
    let good = start_webhook_server();
    assert_eq!(post_form(&simulator, "settings", "url", &good.url()).status, 303);
    create_defect(&simulator, &failed);
    assert_eq!(post_form(&simulator, "settings", "url", "http://127.0.0.1:1").status, 303);
    create_defect(&simulator, &failed);
    let row_html = row_of_failed_test(&simulator, &failed);
    assert!(
        row_html.contains("no server answers") && row_html.contains("issues/7\""),
        "{row_html}"
    );
    let refused = post_form(&simulator, "settings", "url", "javascript:alert(1)");
    assert_eq!(refused.status, 303);
    assert!(simulator.page().get("/").body.contains("was not saved"));
    assert_eq!(post_form(&simulator, "create-defect", "log", "x").status, 400);
    assert_eq!(post_form(&simulator, "create-defect", "log", id(&failed, "case")).status, 404);
}

#[test]
fn the_dashboard_shows_the_counts_of_the_kpi_request() {
    let tracker = start_webhook_server();
    let url = format!("{}/hooks/t", tracker.url());
    let simulator = SimulatedTestManager::start(&["--webhook-url", &url]);
    let project = failed_checkout(&simulator)["project"].clone();
    let project = project.as_str().expect("an id");
    assert_eq!(post_form(&simulator, "kpis", "project", project).status, 303);
    let request = tracker.requests().pop().expect("a request");
    let target = format!("/hooks/t/kpis/project/{project}/defectstatus");
    assert_eq!((request.method.as_str(), request.target), ("GET", target));
    let page = simulator.page().get("/").body;
    for (name, number) in [("totalDefects", 12), ("openDefects", 5)] {
        let cells = format!("<bdi>{name}</bdi></th>\n<td><bdi>{number}</bdi></td>");
        assert!(page.contains(&cells), "{name} is missing in {page}");
    }
    assert_eq!(
        post_form(&simulator, "kpis", "project", "00000000-0000-0000-0000-000000000001").status,
        404
    );
}

#[test]
fn run_again_adds_a_later_execution_with_the_same_failed_tests() {
    let simulator = SimulatedTestManager::start(&[]);
    let failed = failed_checkout(&simulator);
    let before = simulator.failed_tests("SHOP");
    assert_eq!(
        post_form(&simulator, "run-again", "execution", id(&failed, "execution")).status,
        303
    );
    let after = simulator.failed_tests("SHOP");
    let new_failed_tests: Vec<_> = after.iter().filter(|log| !before.contains(log)).collect();
    let repeated =
        new_failed_tests.iter().find(|log| log["case"] == failed["case"]).expect("the same test");
    assert_eq!(repeated["variation"], failed["variation"]);
    assert_ne!(repeated["execution"], failed["execution"]);
    let api = simulator.api("");
    let started =
        |failed: &Value| api.get(&log_path(failed, "")).expect(200)["executionStart"].take();
    assert!(
        started(repeated).as_str() > started(&failed).as_str(),
        "the new execution is not later"
    );
    let history = format!(
        "/api/v2/{}/testcaselogs/testcase/{}/history",
        id(&failed, "project"),
        id(&failed, "case")
    );
    let history = api.get(&history).expect(200);
    assert_eq!(
        history["data"][0]["testExecutionId"], repeated["execution"],
        "the newest execution must be first"
    );
}

#[test]
fn a_click_on_the_page_creates_a_defect_in_jackfield() {
    let host = Setup::new().plugin("instant", &Guest::named("instant")).start();
    let connection = host.add_connection("qa", "instant", json!({}), json!({}));
    let simulator = SimulatedTestManager::start(&[]);
    let url = format!("{}{}", host.url(), connection.webhook_path);
    assert_eq!(post_form(&simulator, "settings", "url", &url).status, 303);
    let failed = failed_checkout(&simulator);
    create_defect(&simulator, &failed);
    let first = row_of_failed_test(&simulator, &failed);
    assert!(first.contains("<a href="), "{first}");
    create_defect(&simulator, &failed);
    assert_eq!(
        row_of_failed_test(&simulator, &failed),
        first,
        "a second click shows another defect"
    );
    let defects = host.admin().get("/defects").expect(200);
    assert_eq!(defects["defects"].as_array().map(Vec::len), Some(1), "{defects}");
    assert_eq!(defects["defects"][0]["test_case_id"], failed["case"], "{defects}");
}
