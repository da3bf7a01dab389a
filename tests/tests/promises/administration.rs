//! The pages of the console for admins: in a browser with JavaScript, and with the requests that a
//! browser without JavaScript sends.

use data_encoding::BASE64;
use jackfield_tests::{
    Client, Connection, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test,
};
use serde_json::{Value, json};

use crate::console::run_script;

/// The API key that the fake tracker accepts.
const TRACKER_KEY: &str = "k3y-of-the-tracker";
const FORM_HEADERS: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded")];

/// Runs a scenario of `administration.py` in a browser that signs in with the admin token.
fn browse(host: &TestHost, scenario: &str, variables: &[(&str, &str)]) {
    let _ = run_script("administration.py", host, scenario, host.admin_token(), variables);
}

/// The fake tracker lists two of Redmine's "trackers" (kinds of issues) and two priorities.
fn start_tracker() -> ScriptedServer {
    ScriptedServer::start(|exchange| {
        let request = exchange.request;
        if request.header("x-redmine-api-key") != Some(TRACKER_KEY) {
            return Reply::json(401, "{}");
        }
        let path = request.target.split('?').next().unwrap_or_default();
        let body = match path {
            "/trackers.json" => json!({"trackers": [
                {"id": 1, "name": "Bug"}, {"id": 2, "name": "Feature"}]}),
            "/enumerations/issue_priorities.json" => json!({"issue_priorities": [
                {"id": 1, "name": "Low"}, {"id": 2, "name": "Urgent"}]}),
            _ => return Reply::json(404, "{}"),
        };
        Reply::json(200, &body.to_string())
    })
}

fn host_with_redmine() -> TestHost {
    Setup::new().plugin("redmine", &Guest::example("redmine")).start()
}

#[test]
fn a_person_chooses_values_that_the_tracker_lists() {
    let (host, tracker) = (host_with_redmine(), start_tracker());
    browse(&host, "look_up", &[("TRACKER_URL", &tracker.url()), ("TRACKER_KEY", TRACKER_KEY)]);
    let created = host.connection("Payments");
    assert_eq!(created["settings"]["tracker"], "Bug", "{created}");
    assert_eq!(created["settings"]["critical-priorities"], json!(["Urgent", "Immediate", "Low"]));
}

/// The client sends the admin token with each request, and so needs no session.
fn admin_client(host: &TestHost) -> Client {
    host.client_as(host.admin_token())
}

/// Percent-encodes every byte, which the format allows.
fn form_body(fields: &[(&str, &str)]) -> String {
    let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn hidden_field(page: &str, name: &str) -> String {
    let attributes = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&attributes).unwrap_or_else(|| panic!("no {name} in {page}"));
    let value = rest.split('"').next().expect("a value");
    value.replace("&#34;", "\"").replace("&#38;", "&").replace("&#39;", "'").replace("&#60;", "<")
}

#[test]
fn without_javascript_a_look_up_keeps_the_entered_values_and_lists_those_of_the_tracker() {
    let (host, tracker) = (host_with_redmine(), start_tracker());
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let qa = host.add_connection("qa", "redmine", settings, json!({"api-key": TRACKER_KEY}));
    let client = admin_client(&host);
    let edit = client.get(&format!("/connections/{}/edit", qa.id)).body;
    let (revision, shown) = (hidden_field(&edit, "revision"), hidden_field(&edit, "shown"));
    let path = format!("/connections/{}/choices?setting=tracker", qa.id);
    let url = tracker.url();
    let fields = [
        ("revision", revision.as_str()),
        ("shown", &shown),
        ("name", "renamed"),
        ("s.url", &url),
        ("s.project", "qa"),
        ("s.tracker", ""),
        ("q.s.tracker", "feat"),
    ];
    let send = |more: &[(&str, &str)]| {
        let all_fields = [&fields[..], more].concat();
        client.send("POST", &path, &FORM_HEADERS, form_body(&all_fields).as_bytes())
    };
    let listed = send(&[]);
    listed.assert_status(200);
    assert!(listed.body.contains("name=\"take\" value=\"Feature\""), "{listed:?}");
    assert!(listed.body.contains("value=\"renamed\""), "an entered value is lost: {listed:?}");
    assert_eq!(hidden_field(&listed.body, "revision"), revision);
    let chosen = send(&[("take", "Feature")]);
    chosen.assert_status(200);
    let field_html = chosen.body.split("name=\"s.tracker\"").nth(1).expect("the field");
    assert!(
        field_html.split('>').next().expect("a tag").contains("value=\"Feature\""),
        "{field_html}"
    );
    let htmx_headers = [FORM_HEADERS[0], ("hx-request", "true")];
    let fragment = client.send("POST", &path, &htmx_headers, form_body(&fields).as_bytes());
    assert!(fragment.body.contains("Feature") && !fragment.body.contains("<html"), "{fragment:?}");
    assert_eq!(host.connection("qa")["name"], "qa", "the look-up stored an entered value");
}

#[test]
fn a_look_up_for_a_new_connection_has_an_audit_entry_with_the_connector() {
    let (host, tracker) = (host_with_redmine(), start_tracker());
    let client = admin_client(&host);
    let path = "/connections/new/choices?connector=redmine&setting=tracker";
    let url = tracker.url();
    let fields = [
        ("name", "new"),
        ("s.url", url.as_str()),
        ("s.project", "qa"),
        ("s.tracker", ""),
        ("q.s.tracker", "feat"),
        ("x.api-key", TRACKER_KEY),
        ("allow_private", "on"),
    ];
    let send = |more: &[(&str, &str)]| {
        let all_fields = [&fields[..], more].concat();
        client.send("POST", path, &FORM_HEADERS, form_body(&all_fields).as_bytes())
    };
    let look_ups = || {
        let list = host.admin().get("/audit?limit=200").expect(200);
        let entries = list["entries"].as_array().expect("entries").clone();
        let is_look_up = |entry: &Value| entry["action"] == "connector.look-up";
        entries.into_iter().filter(is_look_up).collect::<Vec<_>>()
    };
    let listed = send(&[]);
    assert!(listed.body.contains("name=\"take\" value=\"Feature\""), "{listed:?}");
    let recorded = look_ups();
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!(
        (&recorded[0]["object"], &recorded[0]["outcome"]),
        (&json!("redmine"), &json!("ok"))
    );
    send(&[("take", "Feature")]).assert_status(200);
    assert_eq!(look_ups().len(), 1, "the choice of a value was recorded as a look-up");
}

#[test]
fn senders_must_sign_requests_and_a_new_key_leaves_the_old_key_valid() {
    let (host, _) = Setup::new().start_with_guest("instant", json!({}));
    let keys = [[1; 24], [2; 24]].map(|key| format!("whsec_{}", BASE64.encode(&key)));
    browse(&host, "senders", &[("KEY_1", &keys[0]), ("KEY_2", &keys[1])]);
    let edited = host.connection("qa");
    assert_eq!(edited["webhook_auth"]["scheme"], "signature");
    assert_eq!(edited["has_webhook_secret_previous"], true);
    assert!(keys.iter().all(|key| !host.output().contains(key.as_str())));
}

#[test]
fn two_people_who_edit_one_connection_do_not_overwrite_each_others_changes() {
    let (host, _) = Setup::new().start_with_guest("instant", json!({}));
    browse(&host, "conflict", &[]);
    let edited = host.connection("of%20the%20other");
    assert_eq!((&edited["index_delay_s"], &edited["project"]), (&json!(60), &json!("4711")));
    let form = form_body(&[("name", "no revision")]);
    let path = format!("/connections/{}/edit", edited["id"].as_str().expect("an id"));
    let refused = admin_client(&host).send("POST", &path, &FORM_HEADERS, form.as_bytes());
    assert_eq!(refused.status, 400, "{refused:?}");
}

/// Sends a failed test in a PUT request, with a credential, to a path below the webhook path.
/// Returns the status of the answer.
fn send_put(host: &TestHost, connection: &Connection, path: &str) -> u16 {
    let body = failed_test().to_string();
    let path = format!("{}{path}", connection.webhook_path);
    let secret = [("authorization", "Bearer hunter2-of-the-sender")];
    host.anonymous().send("PUT", &path, &secret, body.as_bytes()).status
}

#[test]
fn a_person_maps_the_path_of_an_unrecognised_request() {
    let (host, qa) = Setup::new().start_with_guest("instant", json!({}));
    assert_eq!(send_put(&host, &qa, "/tm/new-defect"), 404);
    let counts = format!("{}/tm/4711/numbers", qa.webhook_path);
    assert_eq!(host.anonymous().get(&counts).status, 404);
    browse(&host, "unrecognised", &[]);
    assert_eq!(send_put(&host, &qa, "/tm/new-defect"), 200);
    let page = admin_client(&host).get("/unrecognised").body;
    assert!(page.contains("/kpis\"") && !page.contains("hunter2"), "{page}");
    let events = host.admin().get("/events?kind=unrecognised").expect(200);
    let events = events["events"].as_array().expect("events").iter();
    let mut gets = events.filter(|event| event["request"]["method"] == "GET");
    let id = gets.next().expect("the request for counts")["id"].as_str().expect("an id");
    let path = format!("/unrecognised/{id}/kpis");
    assert!(admin_client(&host).get(&path).body.contains("value=\"/tm/{projectId}/numbers\""));
    let form = form_body(&[("connection", &qa.id), ("path", "/tm/{projectId}/numbers")]);
    assert_eq!(admin_client(&host).send("POST", &path, &FORM_HEADERS, form.as_bytes()).status, 303);
    host.anonymous().get(&counts).assert_status(200);
    let entries = host.admin().get("/audit?action=connection.map-path&object=qa").expect(200);
    assert_eq!(entries["entries"].as_array().map(Vec::len), Some(2), "{entries}");
}

#[test]
fn the_audit_log_shows_changes_and_refused_attempts() {
    let (host, _) = Setup::new().start_with_guest("instant", json!({}));
    let body = json!({"name": "reader", "role": "viewer"});
    let created: Value = host.admin().json("POST", "/tokens", &body).expect(201);
    let reader = host.client_as(created["token"].as_str().expect("a token"));
    for _ in 0..3 {
        let refused = reader.send("POST", "/api/v1/connections/qa/pause", &[], b"");
        refused.assert_problem(403, "role-too-low");
    }
    let wrong_token = form_body(&[("token", "wrong")]);
    assert_eq!(
        host.anonymous().send("POST", "/sign-in", &FORM_HEADERS, wrong_token.as_bytes()).status,
        401
    );
    browse(&host, "audit", &[]);
    assert_eq!(reader.get("/audit").status, 403);
}
