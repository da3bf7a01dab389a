//! Requests that Test Manager should never send, and unusual requests that it may send. Each
//! request gets an answer and an event, and the server continues to run.

use jackfield_tests::{
    Answer, Connection, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test,
};
use serde_json::{Value, json};

fn start_host() -> (TestHost, Connection) {
    Setup::new().start_with_guest("instant", json!({}))
}

fn send_create(
    host: &TestHost,
    connection: &Connection,
    content_type: Option<&str>,
    body: &[u8],
) -> Answer {
    let headers: Vec<_> =
        content_type.map(|content_type| ("content-type", content_type)).into_iter().collect();
    host.anonymous().send("POST", &connection.create_path(), &headers, body)
}

/// Returns JSON in JSON in 60 levels. The name of the member with the next level is special for
/// serde_json if one of its features is enabled: then each level is parsed inside the one before
/// it, although serde_json limits how deeply a text is nested.
fn nested_json() -> String {
    const LEVELS: usize = 60;
    let quote = |level: usize| match level.checked_sub(1) {
        None => "\"".to_owned(),
        Some(escapes) => format!("\\u{}0022", "005cu".repeat(escapes)),
    };
    let name = "$serde_json::private::RawValue";
    let begin = |level: usize| {
        let quote = quote(level);
        format!("{}{{{quote}{name}{quote}:{quote}", "[".repeat(125))
    };
    let end = |level: usize| format!("{}}}{}", quote(level), "]".repeat(125));
    let begins: String = (0..LEVELS).map(begin).collect();
    let ends: String = (0..LEVELS).rev().map(end).collect();
    format!("{begins}1{ends}")
}

fn assert_recorded(host: &TestHost, answer: &Answer) {
    let event = host.event_of(answer);
    assert_eq!(event["status"], answer.status, "{event}");
}

#[test]
fn a_body_that_is_not_the_documented_json_is_answered_with_400() {
    let (host, connection) = start_host();
    let with_member = |name: &str, value: Value| {
        let mut test = failed_test();
        test[name] = value;
        test.to_string()
    };
    let without_member = |name: &str| {
        let mut test = failed_test();
        test.as_object_mut().expect("an object").remove(name);
        test.to_string()
    };
    let valid = failed_test().to_string();
    let mut bodies = vec![
        valid[..valid.len() - 3].to_owned(),
        "[]".to_owned(),
        "\"text\"".to_owned(),
        "null".to_owned(),
        "\u{feff}nonsense".to_owned(),
        format!("{valid}{valid}"),
        with_member("variationId", json!(7)),
        with_member("variationId", json!(["a"])),
        with_member("linkToTestCaseLog", json!({"a": 1})),
        "[".repeat(20_000),
        format!("{{\"testExecutionId\":{}}}", nested_json()),
    ];
    for id in ["testExecutionId", "testCaseId"] {
        bodies.push(without_member(id));
        for value in [
            Value::Null,
            json!(7),
            json!(""),
            json!("no uuid"),
            json!("zz0e8400-e29b-41d4-a716-446655440000"),
        ] {
            bodies.push(with_member(id, value));
        }
    }
    for body in bodies {
        let answer = send_create(&host, &connection, Some("application/json"), body.as_bytes());
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        answer.assert_problem(400, "bad-request");
        assert_recorded(&host, &answer);
    }
    let answer = send_create(&host, &connection, Some("application/json"), b"{\"a\":\"\xff\xfe\"}");
    answer.assert_problem(400, "bad-request");
    host.create(&connection, &failed_test()).assert_status(200);
}

#[test]
fn optional_and_unusual_parts_of_a_request_are_accepted() {
    let (host, connection) = start_host();
    let mut test = failed_test();
    test.as_object_mut().expect("an object").remove("linkToTestCaseLog");
    test["somethingNew"] = json!({"from": "a later Test Manager"});
    let first = host.create(&connection, &test).expect(200);
    test["linkToTestCaseLog"] = Value::Null;
    test["variationId"] = json!("");
    assert_eq!(host.create(&connection, &test).expect(200), first);
    test.as_object_mut().expect("an object").remove("variationId");
    let upper_case_id = test["testCaseId"].as_str().expect("a uuid").to_uppercase();
    test["testCaseId"] = json!(upper_case_id);
    assert_eq!(
        host.create(&connection, &test).expect(200),
        first,
        "a missing, a null and an empty variation id are not the same failed test"
    );
    for content_type in [
        None,
        Some("application/json; charset=utf-8"),
        Some("text/json"),
        Some("application/problem+json"),
    ] {
        let answer = send_create(&host, &connection, content_type, test.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{content_type:?}: {answer:?}");
    }
    for path in ["", "/", "/defects/", "/api/defects", "/api/defects/", "/defects?a=b"] {
        let path = format!("{}{path}", connection.webhook_path);
        assert_eq!(host.anonymous().json("POST", &path, &test).expect(200), first, "{path}");
    }
}

#[test]
fn a_body_over_64_kib_is_answered_with_413_and_another_media_type_with_415() {
    let (host, connection) = start_host();
    let mut test = failed_test();
    let padded = |test: &mut Value, size: usize| {
        test["padding"] = json!("");
        let missing = size - test.to_string().len();
        test["padding"] = json!("x".repeat(missing));
        test.to_string()
    };
    let largest = padded(&mut test, 64 * 1024);
    assert_eq!(largest.len(), 65_536);
    assert_eq!(
        send_create(&host, &connection, Some("application/json"), largest.as_bytes()).status,
        200
    );
    let too_large = padded(&mut test, 64 * 1024 + 1);
    let answer = send_create(&host, &connection, Some("application/json"), too_large.as_bytes());
    assert!(answer.problem(413, "payload-too-large").contains("64"), "{answer:?}");
    assert_recorded(&host, &answer);
    for content_type in ["text/html", "application/xml", "multipart/form-data; boundary=x"] {
        let answer = send_create(
            &host,
            &connection,
            Some(content_type),
            failed_test().to_string().as_bytes(),
        );
        answer.assert_problem(415, "unsupported-media-type");
        assert_recorded(&host, &answer);
    }
}

#[test]
fn an_unknown_token_is_answered_like_an_unknown_path() {
    let (host, connection) = start_host();
    let wrong_path = format!("{}0", &connection.webhook_path[..connection.webhook_path.len() - 1]);
    let wrong_path = if wrong_path == connection.webhook_path {
        format!("{}1", &wrong_path[..wrong_path.len() - 1])
    } else {
        wrong_path
    };
    let mut bodies = Vec::new();
    for path in [
        wrong_path.as_str(),
        "/hooks/",
        "/hooks/x",
        &format!("{wrong_path}/api/kpis/project/1/defectstatus"),
    ] {
        let answer = host.anonymous().json("POST", path, &failed_test());
        answer.assert_problem(404, "not-found");
        let mut body = answer.json();
        body["instance"] = Value::Null;
        bodies.push(body);
        assert_recorded(&host, &answer);
    }
    // A request with a valid token to an unknown path must get the same answer.
    let path = format!("{}/no/such/path", connection.webhook_path);
    let answer = host.anonymous().json("POST", &path, &failed_test());
    answer.assert_problem(404, "not-found");
    assert_eq!(host.event_of(&answer)["kind"], "unrecognised");
    let mut body = answer.json();
    body["instance"] = Value::Null;
    bodies.push(body);
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
    let listed = host.admin().get("/events?kind=no-connection").expect(200).to_string();
    assert!(
        !listed.contains(wrong_path.trim_start_matches("/hooks/")),
        "the event shows the wrong token, which may be a mistyped valid token"
    );
}

#[test]
fn an_unrecognised_request_is_recorded_with_masked_credentials() {
    let (host, connection) = start_host();
    let path = format!("{}/something/new?x=1", connection.webhook_path);
    let headers = [
        ("content-type", "text/weird"),
        ("authorization", "Bearer very-secret-token"),
        ("x-tm", "42"),
    ];
    let answer = host.anonymous().send("PUT", &path, &headers, b"what is this?");
    answer.assert_problem(404, "not-found");
    let event = host.event_of(&answer);
    assert_eq!(event["kind"], "unrecognised");
    let text = event.to_string();
    for part in
        ["PUT", "/something/new?x=(1 characters)", "what is this?", "text/weird", "x-tm", "Bearer"]
    {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    assert!(!text.contains("very-secret-token"), "{text}");
    assert!(!text.contains(connection.webhook_path.trim_start_matches("/hooks/")), "{text}");
}

#[test]
fn probes_are_answered_with_the_status_alive() {
    let (host, connection) = start_host();
    let hook = &connection.webhook_path;
    for (method, path, body) in [
        ("GET", String::new(), ""),
        ("GET", "/isalive".to_owned(), ""),
        ("POST", "/api/isalive".to_owned(), "{\"any\":1}"),
        ("POST", String::new(), ""),
        ("POST", String::new(), "{}"),
    ] {
        let answer = host.anonymous().send(method, &format!("{hook}{path}"), &[], body.as_bytes());
        assert_eq!(answer.expect(200), json!({"status": "alive"}), "{method} {path}");
        assert_eq!(host.event_of(&answer)["kind"], "probe");
    }
    assert_eq!(host.anonymous().send("HEAD", hook, &[], b"").status, 200);
}

#[test]
fn a_request_gets_503_from_a_paused_connection_and_404_for_another_project() {
    let (host, connection) = start_host();
    let admin = host.admin();
    let id = &connection.id;
    admin
        .json("PATCH", &format!("/connections/{id}"), &json!({"project": "4711"}))
        .assert_status(200);
    host.kpis(&connection, "4711").assert_status(200);
    let answer = host.kpis(&connection, "4712");
    answer.assert_problem(404, "wrong-project");
    assert_recorded(&host, &answer);
    admin.send("POST", &format!("/connections/{id}/pause"), &[], b"").assert_status(200);
    let answer = host.create(&connection, &failed_test());
    assert!(answer.problem(503, "paused").contains("resume"), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    assert_recorded(&host, &answer);
    admin.send("POST", &format!("/connections/{id}/resume"), &[], b"").assert_status(200);
    host.create(&connection, &failed_test()).assert_status(200);
}

#[test]
fn the_problem_of_a_count_over_int32_names_the_field() {
    let tracker = ScriptedServer::start(|_| Reply::new(200, "3000000000"));
    let (host, connection) = Setup::new().start_with_guest("good", json!({"url": tracker.url()}));
    let answer = host.kpis(&connection, "1");
    let detail = answer.problem(502, "count-too-large");
    assert!(detail.contains("totalDefects") && detail.contains("3000000000"), "{detail}");
    assert_recorded(&host, &answer);
}

#[test]
fn files_that_are_not_connectors_become_broken_and_other_connectors_still_work() {
    let (host, connection) = start_host();
    let good = Guest::named("instant").bytes;
    let compile_wat = |name: &str| {
        let path = jackfield_tests::root().join("tests/guests/wat").join(name);
        wat::parse_file(path).expect("a valid text file")
    };
    let broken_files = [
        ("core-module", compile_wat("core-module.wat")),
        ("other-world", compile_wat("other-world.wat")),
        ("empty", Vec::new()),
        ("text", b"#!/bin/sh\necho connector\n".to_vec()),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("not-a-schema", Guest::named("not-a-schema").bytes),
    ];
    for (name, bytes) in &broken_files {
        host.install(name, &Guest { bytes: bytes.clone() });
    }
    std::fs::create_dir(host.plugin("folder")).expect("a new folder");
    let sparse = std::fs::File::create(host.plugin("giant")).expect("a new file");
    sparse.set_len(200 << 20).expect("a sparse file");
    let names = broken_files.iter().map(|(name, _)| *name).chain(["folder", "giant"]);
    for name in names {
        let connector = host.await_connector(name, "broken", None);
        let reason = connector["error"].as_str().unwrap_or_default();
        assert!(reason.len() > 10, "{name} has no reason: {connector}");
    }
    let giant = host.await_connector("giant", "broken", None);
    assert!(giant["error"].as_str().expect("a reason").contains("component_bytes"), "{giant}");
    let answer = host.admin().json(
        "POST",
        "/connections",
        &json!({"name": "x", "connector": "empty", "settings": {}, "secrets": {}}),
    );
    assert!((400..500).contains(&answer.status), "{answer:?}");
    host.create(&connection, &failed_test()).assert_status(200);
}
