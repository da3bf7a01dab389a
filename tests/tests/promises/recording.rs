//! The bodies of a connection are recorded only while a person wants it, and without secrets. A
//! recorded event becomes a test of its connector, which needs neither server nor tracker.

use std::fs;
use std::process::Command;

use data_encoding::BASE64;
use jackfield_tests::{
    Guest, RedmineFixture, Reply, Response, ScriptedServer, Setup, TestHost, binary, failed_test,
    wait_for, with_database,
};
use serde_json::{Value, json};

use crate::calls::{INTERFACES, call, connect};

const SECRET: &str = "s3cr3t/\"quoted\" & +plus%!";

/// Runs a command of the host that must succeed, and returns what it printed as JSON.
#[track_caller]
fn ok(host: &TestHost, words: &[&str]) -> Value {
    let (done, printed) = host.run_cli(&[words, &["--json"]].concat());
    assert!(done, "{words:?}: {printed}");
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"))
}

/// Runs a command of the host that must fail with these words.
#[track_caller]
fn fails(host: &TestHost, words: &[&str], why: &[&str]) {
    let (done, printed) = host.run_cli(words);
    assert!(!done, "{words:?}: {printed}");
    assert_eq!(printed.trim_end().lines().count(), 1, "not one line: {printed}");
    for word in why {
        assert!(printed.contains(word), "{word:?} is missing in: {printed}");
    }
}

/// Replays a folder without server and without secrets. Returns the report, and what was printed
/// on stderr.
fn replay(host: &TestHost, file: &str, call: &str, folder: &str) -> (Value, String) {
    let mut command = Command::new(binary());
    command.args(["invoke", file, call, "--replay", folder, "--json"]);
    command.env("XDG_CACHE_HOME", host.folder()).current_dir(host.folder());
    let output = command.output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let report = serde_json::from_str(&text(&output.stdout)).unwrap_or_default();
    (report, text(&output.stderr))
}

/// The texts of all files of a folder.
fn files(host: &TestHost, folder: &str) -> String {
    let entries = fs::read_dir(host.folder().join(folder)).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.map(|path| fs::read_to_string(path).expect("a text")).collect()
}

/// Switches recording on for the connections with these names.
fn record_all(host: &TestHost) {
    let list = host.admin().get("/connections").expect(200);
    for connection in list["connections"].as_array().expect("a list") {
        let name = connection["name"].as_str().expect("a name");
        ok(host, &["connections", "record", name, "--for", "1h"]);
    }
}

fn redmine() -> RedmineFixture {
    Setup::new().start_with_redmine("redmine", &Guest::example("redmine"), json!({}))
}

#[test]
fn a_recorded_event_is_replayed_with_the_answer_of_the_real_redmine() {
    let fixture = redmine();
    let host = &fixture.host;
    ok(host, &["connections", "record", "qa", "--for", "1h"]);
    let created = fixture.create(&failed_test());
    let defect = created.expect(200);
    let event = created.event();
    let kpis = host.kpis(&fixture.connection, "qa");
    let counted = kpis.expect(200);

    let written = ok(host, &["fixture", &event, "--out", "create"]);
    assert_eq!(written["call"], "create-defect", "{written}");
    assert_eq!(written["missing"], Value::Null, "{written}");
    ok(host, &["fixture", &kpis.event(), "--out", "count"]);
    let (before, key) = (fixture.proxy.requests().len(), defect["id"].clone());

    let (replayed, err) = replay(host, "plugins/redmine.wasm", "create-defect", "create");
    assert_eq!(replayed["answer"]["key"], key, "{replayed} {err}");
    assert_eq!(replayed["recording"]["files_not_used"], json!([]), "{replayed}");
    let marker = replayed["marker"].as_str().expect("a marker");
    assert!(fixture.project.only_issue().description.contains(marker), "another marker");
    let (replayed, err) = replay(host, "plugins/redmine.wasm", "kpis", "count");
    assert_eq!(replayed["answer"]["open"], counted["totalDefects"], "{replayed} {err}");
    assert_eq!(fixture.proxy.requests().len(), before, "a replay sent a request");

    let (_, err) = replay(host, "plugins/redmine.wasm", "kpis", "create");
    assert!(err.contains("the recording is of create-defect, not of kpis"), "{err}");
    fails(host, &["fixture", &event, "--out", "create"], &["create is not empty"]);
    fails(host, &["fixture", &event, "--out", "x", "--call", "find"], &["find", "create-defect"]);
    assert!(!host.folder().join("x").exists(), "half of a fixture was written");
}

#[test]
fn bodies_are_recorded_only_while_a_person_wants_it() {
    let fixture = redmine();
    let host = &fixture.host;
    let create = || fixture.create(&failed_test()).event();
    let until = || host.connection("qa")["recording_until"].clone();
    let await_logged =
        |line: &str| wait_for(line, 10, || host.output().contains(line).then_some(()));
    let how = "jackfield connections record qa --for 1h";

    assert_eq!(until(), Value::Null);
    fails(host, &["fixture", &create(), "--out", "f"], &["has no recording", how]);

    let shown = ok(host, &["connections", "record", "qa", "--for", "1h"]);
    assert!(shown["recording_until"].is_string(), "{shown}");
    let (_, printed) = host.run_cli(&["connections", "show", "qa"]);
    assert!(printed.contains("recording_until"), "{printed}");
    let recorded = create();
    ok(host, &["fixture", &recorded, "--out", "on"]);
    await_logged("recording of bodies is switched on");

    let shown = ok(host, &["connections", "record", "qa", "--off"]);
    assert_eq!(shown["recording_until"], Value::Null, "{shown}");
    await_logged("recording of bodies is switched off");
    fails(host, &["fixture", &create(), "--out", "f"], &["has no recording", how]);
    ok(host, &["fixture", &recorded, "--out", "still"]);
    ok(host, &["connections", "record", "qa", "--off", "--erase"]);
    fails(host, &["fixture", &recorded, "--out", "f"], &["has no recording"]);

    ok(host, &["connections", "record", "qa", "--for", "1s"]);
    wait_for("the end of the recording", 10, || until().is_null().then_some(()));
    fails(host, &["fixture", &create(), "--out", "f"], &["has no recording", how]);

    for (time, why) in [("25h", "at most 24h"), ("0s", "at least 1s"), ("soon", "such as 30m")] {
        let (done, printed) = host.run_cli(&["connections", "record", "qa", "--for", time]);
        assert!(!done && printed.contains(why), "{time}: {printed}");
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
    let gone = jackfield_tests::unreachable_url();
    for (target, origin, key) in
        [("/reset", tracker.url(), "interrupted"), ("/x", gone, "unreachable")]
    {
        let settings = json!({"url": origin, "target": format!("{origin}{target}"),
            "method": "POST", "effect": "prepare"});
        let connection = connect(&host, &tracker, settings, json!({}));
        record_all(&host);
        let received = call(&host, &connection);
        assert_eq!(received.key, key, "{}", received.text);
        let event = received.event["id"].as_str().expect("an id");
        ok(&host, &["fixture", event, "--out", key]);
        let (replayed, err) = replay(&host, "plugins/calls.wasm", "create-defect", key);
        assert_eq!(replayed["answer"]["key"], key, "{replayed} {err}");
        assert_eq!(replayed["answer"]["description"], received.text, "{replayed}");
    }
}

/// The tracker echoes the secret in many encodings; a cookie, an OAuth token and a webhook token
/// are credentials too.
#[test]
fn no_recording_has_a_secret_or_a_token() {
    const COOKIE: &str = "c00kie-of-the-session";
    const TOKEN: &str = "t0ken-of-the-identity-server";
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let forms = [
        SECRET.to_owned(),
        percent,
        "s3cr3t%2F%22quoted%22+%26+%2Bplus%25%21".to_owned(),
        "s3cr3t%2F%22quoted%22%20%26%20%2Bplus%25%21".to_owned(),
        SECRET.replace('"', "\\\""),
        SECRET.replace('"', "\\u0022").replace('/', "\\/"),
        BASE64.encode(SECRET.as_bytes()),
        BASE64.encode(format!("bot:{SECRET}").as_bytes()),
    ];
    let mut host = Setup::new().guests(["calls"]).start();
    let echoed = forms.join(" and ");
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
    let hidden_words = [COOKIE, TOKEN, "authorization"];
    for via in INTERFACES {
        for (place, more) in [
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
                json!({"via": via, "method": "POST", "effect": "prepare"}),
                more,
            );
            let connection = connect(&host, &tracker, settings, json!({place: SECRET}));
            tokens.push(connection.webhook_path.trim_start_matches("/hooks/").to_owned());
            record_all(&host);
            let received = call(&host, &connection);
            let event = received.event["id"].as_str().expect("an id");
            let folder = format!("{place}-{}", via.replace(':', "-"));
            ok(&host, &["fixture", event, "--out", &folder]);
            let shown = host.admin().get(&format!("/events/{event}/recording"));
            let kept = files(&host, &folder) + &shown.body;
            assert!(kept.contains("[secret]"), "{folder}: {kept}");
            let webhook = tokens.iter().map(String::as_str);
            for hidden in forms.iter().map(String::as_str).chain(hidden_words).chain(webhook) {
                assert!(!kept.contains(hidden), "{folder}: {hidden} in {kept}");
            }
            let (replayed, err) = replay(&host, "plugins/calls.wasm", "create-defect", &folder);
            assert_eq!(replayed["answer"]["key"], "200", "{folder}: {replayed} {err}");
        }
    }
    assert!(host.stop().success());
    let bytes = fs::read(host.data("jackfield.db")).expect("the database");
    let stored = String::from_utf8_lossy(&bytes);
    assert!(stored.contains("recordings") && stored.contains("[secret]"));
    let secret = tokens.iter().chain(&forms).map(String::as_str);
    for hidden in secret.chain([TOKEN]) {
        assert!(!stored.contains(hidden), "{hidden} is in the database");
    }
    // The guest may read the cookie, and put it into its defect.
    let with_cookie: u32 = with_database(&host.data_folder(), |database| {
        let count = "SELECT COUNT(*) FROM recordings WHERE instr(input || exchanges, ?) > 0";
        database.query_row(count, [COOKIE], |row| row.get(0))
    });
    assert_eq!(with_cookie, 0, "recordings have the cookie");
}

#[test]
fn a_body_over_the_limit_is_left_out_and_said_so() {
    let host = Setup::new().guests(["calls"]).start();
    let tracker = ScriptedServer::start(|_| Reply::new(200, vec![b'a'; (256 << 10) + 1]));
    let settings = json!({"url": tracker.url()});
    let connection = connect(&host, &tracker, settings, json!({}));
    record_all(&host);
    let received = call(&host, &connection);
    assert_eq!(received.key, "200", "recording changed the run");
    let event = received.event["id"].as_str().expect("an id");
    let (done, printed) = host.run_cli(&["fixture", event, "--out", "f"]);
    assert!(done && printed.contains("incomplete") && printed.contains("262145"), "{printed}");
    let (_, err) = replay(&host, "plugins/calls.wasm", "create-defect", "f");
    assert!(err.contains("no recorded exchange"), "{err}");
}

#[test]
fn a_call_that_sent_nothing_is_replayed_too() {
    let host = Setup::new().guests(["instant"]).start();
    let connection = host.connect("qa", "instant", json!({}), json!({}));
    record_all(&host);
    let created = host.create(&connection, &failed_test());
    let written = ok(&host, &["fixture", &created.event(), "--out", "f"]);
    assert_eq!(written["exchanges"], 0, "{written}");
    let (replayed, err) = replay(&host, "plugins/instant.wasm", "create-defect", "f");
    let error = "the tracker confirmed no write";
    let is_answered = replayed["answer"]["title"] == created.expect(200)["name"];
    assert!(is_answered || err.contains(error), "{replayed} {err}");
    assert!(!err.contains("has no recorded exchange"), "{err}");
}
