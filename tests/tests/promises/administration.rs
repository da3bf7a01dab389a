//! What an admin does in the console beside defects, in a browser and without its scripts: the form
//! of a connection with look-ups and the senders' credential, two edits at once, requests that were
//! not recognised, and who did what.

use data_encoding::BASE64;
use jackfield_tests::{
    Client, Connection, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test,
};
use serde_json::{Value, json};

use crate::console::run_script;

const KEY: &str = "k3y-of-the-tracker";
const FORM: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded")];

fn browse(host: &TestHost, scenario: &str, more: &[(&str, &str)]) {
    let _ = run_script("administration.py", host, scenario, host.admin_token(), more);
}

/// A tracker of the Redmine connector that lists two trackers and a priority.
fn tracker() -> ScriptedServer {
    ScriptedServer::start(|exchange| {
        let request = exchange.request;
        if request.header("x-redmine-api-key") != Some(KEY) {
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

fn with_redmine() -> TestHost {
    Setup::new().plugin("redmine", &Guest::example("redmine")).start()
}

#[test]
fn a_person_chooses_from_what_the_tracker_has() {
    let (host, tracker) = (with_redmine(), tracker());
    browse(&host, "look_up", &[("TRACKER_URL", &tracker.url()), ("TRACKER_KEY", KEY)]);
    let created = host.connection("Payments");
    assert_eq!(created["settings"]["tracker"], "Bug", "{created}");
    assert_eq!(created["settings"]["critical-priorities"], json!(["Urgent", "Immediate", "Low"]));
}

/// A client that shows the admin token, as a program may.
fn admin(host: &TestHost) -> Client {
    host.client_as(host.admin_token())
}

/// A form as browsers send it; every byte may be percent-encoded.
fn encoded(fields: &[(&str, &str)]) -> String {
    let bytes = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", bytes(name), bytes(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// The value of a hidden field of a page.
fn hidden(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&mark).unwrap_or_else(|| panic!("no {name} in {page}"));
    let value = rest.split('"').next().expect("a value");
    value.replace("&#34;", "\"").replace("&#38;", "&").replace("&#39;", "'").replace("&#60;", "<")
}

#[test]
fn without_scripts_a_look_up_shows_the_form_again_with_what_was_found() {
    let (host, tracker) = (with_redmine(), tracker());
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let qa = host.connect("qa", "redmine", settings, json!({"api-key": KEY}));
    let client = admin(&host);
    let edit = client.get(&format!("/connections/{}/edit", qa.id)).body;
    let (revision, shown) = (hidden(&edit, "revision"), hidden(&edit, "shown"));
    let at = format!("/connections/{}/choices?setting=tracker", qa.id);
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
        let all = [&fields[..], more].concat();
        client.send("POST", &at, &FORM, encoded(&all).as_bytes())
    };
    let listed = send(&[]);
    listed.assert_status(200);
    assert!(listed.body.contains("name=\"take\" value=\"Feature\""), "{listed:?}");
    assert!(listed.body.contains("value=\"renamed\""), "what was entered is lost: {listed:?}");
    assert_eq!(hidden(&listed.body, "revision"), revision);
    let taken = send(&[("take", "Feature")]);
    taken.assert_status(200);
    let control = taken.body.split("name=\"s.tracker\"").nth(1).expect("the field");
    assert!(control.split('>').next().expect("a tag").contains("value=\"Feature\""), "{control}");
    let part = [FORM[0], ("hx-request", "true")];
    let part = client.send("POST", &at, &part, encoded(&fields).as_bytes());
    assert!(part.body.contains("Feature") && !part.body.contains("<html"), "{part:?}");
    assert_eq!(host.connection("qa")["name"], "qa", "a look-up stores nothing");
}

#[test]
fn a_look_up_for_a_new_connection_is_recorded_with_its_connector() {
    let (host, tracker) = (with_redmine(), tracker());
    let client = admin(&host);
    let at = "/connections/new/choices?connector=redmine&setting=tracker";
    let url = tracker.url();
    let fields = [
        ("name", "new"),
        ("s.url", url.as_str()),
        ("s.project", "qa"),
        ("s.tracker", ""),
        ("q.s.tracker", "feat"),
        ("x.api-key", KEY),
        ("allow_private", "on"),
    ];
    let send = |more: &[(&str, &str)]| {
        let all = [&fields[..], more].concat();
        client.send("POST", at, &FORM, encoded(&all).as_bytes())
    };
    let look_ups = || {
        let list = host.admin().get("/audit?limit=200").expect(200);
        let entries = list["entries"].as_array().expect("entries").clone();
        let is_look_up = |it: &Value| it["action"] == "connector.look-up";
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
    assert_eq!(look_ups().len(), 1, "a value that is taken is no look-up");
}

#[test]
fn senders_must_sign_and_a_new_key_keeps_the_old_one() {
    let (host, _) = Setup::new().start_with("instant", json!({}));
    let keys = [[1; 24], [2; 24]].map(|key| format!("whsec_{}", BASE64.encode(&key)));
    browse(&host, "senders", &[("KEY_1", &keys[0]), ("KEY_2", &keys[1])]);
    let edited = host.connection("qa");
    assert_eq!(edited["webhook_auth"]["scheme"], "signature");
    assert_eq!(edited["has_webhook_secret_previous"], true);
    assert!(keys.iter().all(|key| !host.output().contains(key.as_str())));
}

#[test]
fn two_people_who_edit_one_connection_overwrite_nothing() {
    let (host, _) = Setup::new().start_with("instant", json!({}));
    browse(&host, "conflict", &[]);
    let edited = host.connection("of%20the%20other");
    assert_eq!((&edited["index_delay_s"], &edited["project"]), (&json!(60), &json!("4711")));
    let form = encoded(&[("name", "no revision")]);
    let at = format!("/connections/{}/edit", edited["id"].as_str().expect("an id"));
    let refused = admin(&host).send("POST", &at, &FORM, form.as_bytes());
    assert_eq!(refused.status, 400, "{refused:?}");
}

fn put(host: &TestHost, connection: &Connection, path: &str) -> u16 {
    let body = failed_test().to_string();
    let path = format!("{}{path}", connection.webhook_path);
    let secret = [("authorization", "Bearer hunter2-of-the-sender")];
    host.anonymous().send("PUT", &path, &secret, body.as_bytes()).status
}

#[test]
fn a_person_says_what_an_unrecognised_request_is() {
    let (host, qa) = Setup::new().start_with("instant", json!({}));
    assert_eq!(put(&host, &qa, "/tm/new-defect"), 404);
    let counts = format!("{}/tm/4711/numbers", qa.webhook_path);
    assert_eq!(host.anonymous().get(&counts).status, 404);
    browse(&host, "unrecognised", &[]);
    assert_eq!(put(&host, &qa, "/tm/new-defect"), 200);
    let page = admin(&host).get("/unrecognised").body;
    assert!(page.contains("/kpis\"") && !page.contains("hunter2"), "{page}");
    let events = host.admin().get("/events?kind=unrecognised").expect(200);
    let of_counts = events["events"].as_array().expect("events").iter();
    let of_counts = of_counts.filter(|it| it["request"]["method"] == "GET");
    let id = of_counts.map(|it| it["id"].as_str().expect("an id")).next().expect("the request");
    let at = format!("/unrecognised/{id}/kpis");
    assert!(admin(&host).get(&at).body.contains("value=\"/tm/{projectId}/numbers\""));
    let form = encoded(&[("connection", &qa.id), ("path", "/tm/{projectId}/numbers")]);
    assert_eq!(admin(&host).send("POST", &at, &FORM, form.as_bytes()).status, 303);
    host.anonymous().get(&counts).assert_status(200);
    let entries = host.admin().get("/audit?action=connection.map-path&object=qa").expect(200);
    assert_eq!(entries["entries"].as_array().map(Vec::len), Some(2), "{entries}");
}

#[test]
fn an_admin_sees_who_did_what_and_who_tried() {
    let (host, _) = Setup::new().start_with("instant", json!({}));
    let body = json!({"name": "reader", "role": "viewer"});
    let created: Value = host.admin().json("POST", "/tokens", &body).expect(201);
    let reader = host.client_as(created["token"].as_str().expect("a token"));
    for _ in 0..3 {
        let refused = reader.send("POST", "/api/v1/connections/qa/pause", &[], b"");
        refused.assert_problem(403, "role-too-low");
    }
    let wrong = encoded(&[("token", "wrong")]);
    assert_eq!(host.anonymous().send("POST", "/sign-in", &FORM, wrong.as_bytes()).status, 401);
    browse(&host, "audit", &[]);
    assert_eq!(reader.get("/audit").status, 403);
}
