//! The bodies of a connection's requests are recorded only while a person has switched recording
//! on, and without secrets. `jackfield fixture` writes a folder from a recorded event. The folder
//! is replayed without a server and without a tracker.

use std::fs;
use std::process::Command;

use data_encoding::BASE64;
use jackfield_tests::{
    Guest, RedmineFixture, Reply, Response, ScriptedServer, Setup, TestHost, binary, failed_test,
    wait_for, with_database,
};
use serde_json::{Value, json};

use crate::calls::{INTERFACES, add_connection, call};

const SECRET: &str = "s3cr3t/\"quoted\" & +plus%!";

#[track_caller]
fn run_json(host: &TestHost, arguments: &[&str]) -> Value {
    let (succeeded, printed) = host.run_cli(&[arguments, &["--json"]].concat());
    assert!(succeeded, "{arguments:?}: {printed}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"))
}

/// The error must be one line that contains all these texts.
#[track_caller]
fn assert_fails(host: &TestHost, arguments: &[&str], expected_texts: &[&str]) {
    let (succeeded, printed) = host.run_cli(arguments);
    assert!(!succeeded, "{arguments:?}: {printed}");
    assert_eq!(printed.trim_end().lines().count(), 1, "the error is not one line: {printed}");
    for expected in expected_texts {
        assert!(printed.contains(expected), "{expected:?} is missing in: {printed}");
    }
}

/// Returns the report and the text on stderr.
fn replay_folder(host: &TestHost, file: &str, call: &str, folder: &str) -> (Value, String) {
    let mut command = Command::new(binary());
    command.args(["invoke", file, call, "--replay", folder, "--json"]);
    command.env("XDG_CACHE_HOME", host.folder()).current_dir(host.folder());
    let output = command.output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let report = serde_json::from_str(&text(&output.stdout)).unwrap_or_default();
    (report, text(&output.stderr))
}

fn text_of_files(host: &TestHost, folder: &str) -> String {
    let entries = fs::read_dir(host.folder().join(folder)).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.map(|path| fs::read_to_string(path).expect("a text")).collect()
}

fn switch_recording_on(host: &TestHost) {
    let list = host.admin().get("/connections").expect(200);
    for connection in list["connections"].as_array().expect("a list") {
        let name = connection["name"].as_str().expect("a name");
        run_json(host, &["connections", "record", name, "--for", "1h"]);
    }
}

fn start_with_redmine() -> RedmineFixture {
    Setup::new().start_with_redmine("redmine", &Guest::example("redmine"), json!({}))
}

#[test]
fn a_recorded_event_is_replayed_with_the_answer_of_the_real_redmine() {
    let fixture = start_with_redmine();
    let host = &fixture.host;
    run_json(host, &["connections", "record", "qa", "--for", "1h"]);
    let created = fixture.create(&failed_test());
    let defect = created.expect(200);
    let event = created.event();
    let kpis = host.kpis(&fixture.connection, "qa");
    let counts = kpis.expect(200);

    let written = run_json(host, &["fixture", &event, "--out", "create"]);
    assert_eq!(written["call"], "create-defect", "{written}");
    assert_eq!(written["missing"], Value::Null, "{written}");
    run_json(host, &["fixture", &kpis.event(), "--out", "count"]);
    let (requests_before, key) = (fixture.proxy.requests().len(), defect["id"].clone());

    let (replayed, stderr) = replay_folder(host, "plugins/redmine.wasm", "create-defect", "create");
    assert_eq!(replayed["answer"]["key"], key, "{replayed} {stderr}");
    assert_eq!(replayed["recording"]["files_not_used"], json!([]), "{replayed}");
    let marker = replayed["marker"].as_str().expect("a marker");
    assert!(
        fixture.project.only_issue().description.contains(marker),
        "the issue has another marker"
    );
    let (replayed, stderr) = replay_folder(host, "plugins/redmine.wasm", "kpis", "count");
    assert_eq!(replayed["answer"]["open"], counts["totalDefects"], "{replayed} {stderr}");
    assert_eq!(fixture.proxy.requests().len(), requests_before, "a replay sent a request");

    let (_, stderr) = replay_folder(host, "plugins/redmine.wasm", "kpis", "create");
    assert!(stderr.contains("the recording is of create-defect, not of kpis"), "{stderr}");
    assert_fails(host, &["fixture", &event, "--out", "create"], &["create is not empty"]);
    assert_fails(
        host,
        &["fixture", &event, "--out", "x", "--call", "find"],
        &["find", "create-defect"],
    );
    assert!(!host.folder().join("x").exists(), "a folder was written although the command failed");
}

#[test]
fn bodies_are_recorded_only_while_recording_is_switched_on() {
    let fixture = start_with_redmine();
    let host = &fixture.host;
    let create = || fixture.create(&failed_test()).event();
    let recording_until = || host.connection("qa")["recording_until"].clone();
    let await_logged =
        |line: &str| wait_for(line, 10, || host.output().contains(line).then_some(()));
    let advice = "jackfield connections record qa --for 1h";

    assert_eq!(recording_until(), Value::Null);
    assert_fails(host, &["fixture", &create(), "--out", "f"], &["has no recording", advice]);

    let connection = run_json(host, &["connections", "record", "qa", "--for", "1h"]);
    assert!(connection["recording_until"].is_string(), "{connection}");
    let (_, printed) = host.run_cli(&["connections", "show", "qa"]);
    assert!(printed.contains("recording_until"), "{printed}");
    let recorded = create();
    run_json(host, &["fixture", &recorded, "--out", "on"]);
    await_logged("recording of bodies is switched on");

    let connection = run_json(host, &["connections", "record", "qa", "--off"]);
    assert_eq!(connection["recording_until"], Value::Null, "{connection}");
    await_logged("recording of bodies is switched off");
    assert_fails(host, &["fixture", &create(), "--out", "f"], &["has no recording", advice]);
    run_json(host, &["fixture", &recorded, "--out", "still"]);
    run_json(host, &["connections", "record", "qa", "--off", "--erase"]);
    assert_fails(host, &["fixture", &recorded, "--out", "f"], &["has no recording"]);

    run_json(host, &["connections", "record", "qa", "--for", "1s"]);
    wait_for("the end of the recording", 10, || recording_until().is_null().then_some(()));
    assert_fails(host, &["fixture", &create(), "--out", "f"], &["has no recording", advice]);

    for (time, expected) in [("25h", "at most 24h"), ("0s", "at least 1s"), ("soon", "such as 30m")]
    {
        let (succeeded, printed) = host.run_cli(&["connections", "record", "qa", "--for", time]);
        assert!(!succeeded && printed.contains(expected), "{time}: {printed}");
    }
    let body = json!({"for_s": 86_401});
    let refused = host.admin().json("POST", "/connections/qa/record", &body);
    assert!(refused.problem(422, "invalid-values").contains("for_s"));
}

#[test]
fn a_request_without_an_answer_is_replayed_as_the_same_error() {
    let host = Setup::new().guests(["calls"]).start();
    let tracker = ScriptedServer::start(|exchange| match exchange.request.target.as_str() {
        "/reset" => Reply::reset(),
        _ => Reply::new(200, "answered"),
    });
    let unreachable_url = jackfield_tests::unreachable_url();
    for (target, origin, key) in
        [("/reset", tracker.url(), "interrupted"), ("/x", unreachable_url, "unreachable")]
    {
        let settings = json!({"url": origin, "target": format!("{origin}{target}"),
            "method": "POST", "effect": "prepare"});
        let connection = add_connection(&host, &tracker, settings, json!({}));
        switch_recording_on(&host);
        let received = call(&host, &connection);
        assert_eq!(received.result, key, "{}", received.text);
        let event = received.event["id"].as_str().expect("an id");
        run_json(&host, &["fixture", event, "--out", key]);
        let (replayed, stderr) = replay_folder(&host, "plugins/calls.wasm", "create-defect", key);
        assert_eq!(replayed["answer"]["key"], key, "{replayed} {stderr}");
        assert_eq!(replayed["answer"]["description"], received.text, "{replayed}");
    }
}

/// The tracker echoes the secret in many encodings. A cookie, an OAuth token and a webhook token
/// are credentials, too.
#[test]
fn no_recording_contains_a_secret_or_a_token() {
    const COOKIE: &str = "c00kie-of-the-session";
    const TOKEN: &str = "t0ken-of-the-identity-server";
    let percent_encoded: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let encoded_secrets = [
        SECRET.to_owned(),
        percent_encoded,
        "s3cr3t%2F%22quoted%22+%26+%2Bplus%25%21".to_owned(),
        "s3cr3t%2F%22quoted%22%20%26%20%2Bplus%25%21".to_owned(),
        SECRET.replace('"', "\\\""),
        SECRET.replace('"', "\\u0022").replace('/', "\\/"),
        BASE64.encode(SECRET.as_bytes()),
        BASE64.encode(format!("bot:{SECRET}").as_bytes()),
    ];
    let mut host = Setup::new().guests(["calls"]).start();
    let echoed = encoded_secrets.join(" and ");
    let tracker = ScriptedServer::start(move |exchange| {
        if exchange.request.target == "/token" {
            let body = json!({"access_token": TOKEN, "expires_in": 3600});
            return Reply::json(200, &body.to_string());
        }
        let authorization = exchange.request.header("authorization").unwrap_or_default();
        let sent =
            format!("{} {} {authorization}", exchange.request.target, exchange.request.text());
        let answer = Response::new(200, format!("{sent} {echoed} session {COOKIE}"));
        Reply::Answer(
            answer
                .with_header("set-cookie", &format!("session={COOKIE}"))
                .with_header("x-session", COOKIE)
                .with_header("x-echo", &echoed.replace('\n', " ")),
        )
    });
    let mut tokens = Vec::new();
    let other_credentials = [COOKIE, TOKEN, "authorization"];
    for interface in INTERFACES {
        for (place, settings_of_place) in [
            ("key-basic", json!({"user": "bot"})),
            ("key-query", json!({})),
            ("key-client", json!({"client-id": "bot", "token-url": tracker.url() + "/token"})),
            (
                "key-json",
                json!({"headers": "Content-Type=application/json",
                    "body": r#"{"user": {"password": "{secret}"}}"#}),
            ),
        ] {
            let settings = jackfield_tests::merge(
                json!({"via": interface, "method": "POST", "effect": "prepare"}),
                settings_of_place,
            );
            let connection = add_connection(&host, &tracker, settings, json!({place: SECRET}));
            tokens.push(connection.webhook_path.trim_start_matches("/hooks/").to_owned());
            switch_recording_on(&host);
            let received = call(&host, &connection);
            let event = received.event["id"].as_str().expect("an id");
            let folder = format!("{place}-{}", interface.replace(':', "-"));
            run_json(&host, &["fixture", event, "--out", &folder]);
            let recording = host.admin().get(&format!("/events/{event}/recording"));
            let recorded = text_of_files(&host, &folder) + &recording.body;
            assert!(recorded.contains("[secret]"), "{folder}: {recorded}");
            let webhook_tokens = tokens.iter().map(String::as_str);
            for hidden in encoded_secrets
                .iter()
                .map(String::as_str)
                .chain(other_credentials)
                .chain(webhook_tokens)
            {
                assert!(!recorded.contains(hidden), "{folder}: {hidden} in {recorded}");
            }
            let (replayed, stderr) =
                replay_folder(&host, "plugins/calls.wasm", "create-defect", &folder);
            assert_eq!(replayed["answer"]["key"], "200", "{folder}: {replayed} {stderr}");
        }
    }
    assert!(host.stop().success());
    let bytes = fs::read(host.data("jackfield.db")).expect("the database");
    let stored = String::from_utf8_lossy(&bytes);
    assert!(stored.contains("recordings") && stored.contains("[secret]"));
    let secrets = tokens.iter().chain(&encoded_secrets).map(String::as_str);
    for hidden in secrets.chain([TOKEN]) {
        assert!(!stored.contains(hidden), "{hidden} is in the database");
    }
    // The guest may read the cookie and may put it into its defect. So other tables of the database
    // may contain the cookie, but the recordings must not.
    let with_cookie: u32 = with_database(&host.data_folder(), |database| {
        let count = "SELECT COUNT(*) FROM recordings WHERE instr(input || exchanges, ?) > 0";
        database.query_row(count, [COOKIE], |row| row.get(0))
    });
    assert_eq!(with_cookie, 0, "recordings contain the cookie");
}

#[test]
fn a_body_over_the_limit_is_left_out_and_reported() {
    let host = Setup::new().guests(["calls"]).start();
    let tracker = ScriptedServer::start(|_| Reply::new(200, vec![b'a'; (256 << 10) + 1]));
    let settings = json!({"url": tracker.url()});
    let connection = add_connection(&host, &tracker, settings, json!({}));
    switch_recording_on(&host);
    let received = call(&host, &connection);
    assert_eq!(received.result, "200", "recording changed the run");
    let event = received.event["id"].as_str().expect("an id");
    let (succeeded, printed) = host.run_cli(&["fixture", event, "--out", "f"]);
    assert!(succeeded && printed.contains("incomplete") && printed.contains("262145"), "{printed}");
    let (_, stderr) = replay_folder(&host, "plugins/calls.wasm", "create-defect", "f");
    assert!(stderr.contains("no recorded exchange"), "{stderr}");
}

#[test]
fn a_call_without_requests_is_replayed_too() {
    let host = Setup::new().guests(["instant"]).start();
    let connection = host.add_connection("qa", "instant", json!({}), json!({}));
    switch_recording_on(&host);
    let created = host.create(&connection, &failed_test());
    let written = run_json(&host, &["fixture", &created.event(), "--out", "f"]);
    assert_eq!(written["exchanges"], 0, "{written}");
    let (replayed, stderr) = replay_folder(&host, "plugins/instant.wasm", "create-defect", "f");
    assert_eq!(replayed["answer"]["title"], created.expect(200)["name"], "{replayed} {stderr}");
}
