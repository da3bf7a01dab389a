//! Edits of connections. The server refuses an edit of an outdated state, so that two admins do not
//! overwrite each other's edits. If Test Manager uses an unexpected path, an admin can map this
//! path to Create Defect or to the KPIs, for one connection.

use jackfield_tests::{Answer, Setup, TestHost, failed_test};
use serde_json::{Value, json};

/// Edits the connection `qa`, with these values of the header `If-Match`.
fn patch(host: &TestHost, if_match: &[&str], body: &Value) -> Answer {
    let headers: Vec<_> = if_match.iter().map(|etag| ("if-match", *etag)).collect();
    host.admin().send("PATCH", "/connections/qa", &headers, body.to_string().as_bytes())
}

fn etag_of(answer: &Answer) -> String {
    answer.header("etag").expect("an entity tag").to_owned()
}

#[test]
fn an_edit_of_an_outdated_state_is_refused_and_changes_nothing() {
    let (host, _) = Setup::new().start_with_guest("instant", json!({}));
    let read = host.admin().get("/connections/qa");
    let first = etag_of(&read);
    assert_eq!(first, format!("\"{}\"", read.json()["revision"]));

    let edited = patch(&host, &[&first], &json!({"index_delay_s": 7}));
    assert_eq!(edited.expect(200)["index_delay_s"], 7);
    let second = etag_of(&edited);
    assert_ne!(first, second);
    let refused = patch(&host, &[&first], &json!({"index_delay_s": 9, "name": "other"}));
    let why = refused.problem(412, "precondition-failed");
    assert!(why.contains("read it again"), "{why}");
    let shown = host.admin().get("/connections/qa");
    assert_eq!(
        (shown.json()["index_delay_s"].clone(), etag_of(&shown)),
        (json!(7), second.clone())
    );

    // A pause also changes the entity tag. The start of a recording does not change it.
    host.admin().json("POST", "/connections/qa/pause", &json!({})).assert_status(200);
    patch(&host, &[&second], &json!({"index_delay_s": 9}))
        .assert_problem(412, "precondition-failed");
    let third = etag_of(&host.admin().get("/connections/qa"));
    host.admin().json("POST", "/connections/qa/record", &json!({"for_s": 60})).assert_status(200);
    for if_match in [&["\"1\"", &third][..], &["*"], &[]] {
        let name = format!("{if_match:?}");
        let edited = patch(&host, if_match, &json!({"index_delay_s": 1}));
        assert_eq!(edited.status, 200, "{name}: {edited:?}");
        if if_match.len() == 2 {
            let weak = format!("W/{}", etag_of(&edited));
            patch(&host, &[&weak], &json!({})).assert_problem(412, "precondition-failed");
        }
    }
    patch(&host, &["7"], &json!({})).assert_problem(400, "bad-request");
}

#[test]
fn an_edit_by_the_command_line_raises_the_revision_by_one() {
    let (host, _) = Setup::new().start_with_guest("instant", json!({}));
    let before = host.connection("qa")["revision"].as_u64().expect("a number");
    let (succeeded, printed) = host.run_cli(&["connections", "edit", "qa", "--index-delay-s", "5"]);
    assert!(succeeded, "{printed}");
    assert_eq!(host.connection("qa")["revision"], before + 1);
}

#[test]
fn an_unrecognised_request_names_the_command_that_maps_it() {
    let (host, connection) = Setup::new().start_with_guest("instant", json!({}));
    let other = host.add_connection("other", "instant", json!({}), json!({}));
    let body = failed_test().to_string();
    let send = |hook: &str, method: &str, path: &str| {
        host.anonymous().send(method, &format!("{hook}{path}"), &[], body.as_bytes())
    };
    let refused = send(&connection.webhook_path, "PUT", "/tm/new-defect");
    let problem = refused.problem(404, "not-found");
    assert!(!problem.contains("map-path"), "the sender learns the command: {problem}");
    let event = host.event_of(&refused);
    let detail = event["detail"].as_str().expect("a text");
    let command = detail.split("run `jackfield ").nth(1).and_then(|rest| rest.split('`').next());
    let command = command.unwrap_or_else(|| panic!("no command in {detail}"));
    let (succeeded, printed) = host.run_cli(&command.split(' ').collect::<Vec<_>>());
    assert!(succeeded, "{command}: {printed}");
    send(&connection.webhook_path, "PUT", "/tm/new-defect/?a=1").assert_status(200);
    send(&other.webhook_path, "PUT", "/tm/new-defect").assert_problem(404, "not-found");

    let kpis = json!({"path": "/tm/{projectId}/numbers", "kind": "kpis"});
    let mapped = host.admin().json("POST", "/connections/qa/paths", &kpis).expect(200);
    assert_eq!(mapped["webhook_paths"]["kpis"], json!(["/tm/{projectId}/numbers"]));
    let counted = host.anonymous().get(&format!("{}/tm/4711/numbers", connection.webhook_path));
    assert!(counted.expect(200)["totalDefects"].is_u64());
    let again = host.admin().json("POST", "/connections/qa/paths", &kpis).expect(200);
    assert_eq!(again["revision"], mapped["revision"], "the same path was added twice");

    for (body, word) in [
        (json!({"path": "/a/../b", "kind": "create-defect"}), ".."),
        (json!({"path": "/tm/x", "kind": "kpis"}), "{projectId}"),
        (json!({"path": "/", "kind": "create-defect"}), "has a name"),
    ] {
        let why = host.admin().json("POST", "/connections/qa/paths", &body);
        let why = why.problem(422, "invalid-values");
        assert!(why.contains("webhook_paths") && why.contains(word), "{why}");
    }
    let edit = json!({"webhook_paths": {"create_defect": [], "kpis": []}});
    patch(&host, &[], &edit).assert_status(200);
    send(&connection.webhook_path, "PUT", "/tm/new-defect").assert_problem(404, "not-found");
}

#[test]
fn mapped_paths_stay_after_a_restart() {
    let (mut host, connection) = Setup::new().start_with_guest("instant", json!({}));
    let body = json!({"path": "/new", "kind": "create-defect"});
    host.admin().json("POST", "/connections/qa/paths", &body).assert_status(200);
    let revision = host.connection("qa")["revision"].clone();
    host.restart();
    host.await_connector("instant", "ready", None);
    assert_eq!(host.connection("qa")["revision"], revision);
    let path = format!("{}/new", connection.webhook_path);
    let created = host.anonymous().send("POST", &path, &[], failed_test().to_string().as_bytes());
    created.assert_status(200);
}
