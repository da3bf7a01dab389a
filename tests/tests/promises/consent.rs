//! A new version of a connector can request more permissions than a person granted. It then serves
//! only new connections, and connections for which a person accepted it. The other connections stay
//! on their previous version.

use std::io::{Read, Write};
use std::process::Stdio;

use jackfield_tests::{
    Connection, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test, merge, wait_for,
};
use serde_json::{Value, json};

use crate::accounts::Browser;

/// Builds of the guest `asks-more`: the number, and what it requests that build 1 does not.
const ANOTHER_ORIGIN: (u32, &str) = (2, "http://mirror.test:8080");
const ANOTHER_PLACE: (u32, &str) = (3, "bearer");
const ANOTHER_SETTING: (u32, &str) = (4, "team");
const WITHOUT_SECRET: u32 = 5;
const ORIGIN_AND_SETTING: (u32, [&str; 2]) = (8, ["http://mirror.test:8080", "team"]);
/// Builds that request exactly what build 1 requests.
const SAME_REQUESTS: [u32; 2] = [6, 7];

/// A server with the test guest `asks-more` as the connector `c`.
struct Upgrade {
    host: TestHost,
    tracker: ScriptedServer,
    /// The connection that was created with build 1.
    old_connection: Connection,
}

impl Upgrade {
    fn start() -> Self {
        let host = Setup::new().plugin("c", &Guest::named("asks-more").with_build(1)).start();
        let tracker = ScriptedServer::start(|_| Reply::created(7));
        let settings = json!({"url": tracker.url()});
        let old_connection = host.add_connection("old", "c", settings, json!({"key": "k3y-of-qa"}));
        Self { host, tracker, old_connection }
    }

    fn install(&self, build: u32) {
        self.host.replace("c", &Guest::named("asks-more").with_build(build));
    }

    /// Creates a connection `new` with these additional settings.
    fn add_connection(&self, more: Value) -> Connection {
        let settings = merge(json!({"url": self.tracker.url()}), more);
        self.host.add_connection("new", "c", settings, json!({"key": "k3y-of-qa"}))
    }

    /// Returns the number of the build that serves a connection.
    #[track_caller]
    fn build_used(&self, connection: &Connection) -> u32 {
        let answer = self.host.create(connection, &failed_test());
        let run = self.host.run_of(&answer);
        let name = answer.expect(200)["name"].as_str().expect("a name").to_owned();
        let build = name.strip_prefix("build ").and_then(|n| n.parse().ok()).expect("a build");
        assert_eq!(run["connector_version"], format!("1.0.{build}"), "{run}");
        let sha256 = Guest::named("asks-more").with_build(build).sha256();
        assert_eq!(run["connector_sha256"], sha256, "{run}");
        build
    }

    fn needs_consent(&self) -> Value {
        self.host.connection("old")["needs_consent"].clone()
    }

    #[track_caller]
    fn accept(&self) {
        let (accepted, printed) = self.try_accept(&[]);
        assert!(accepted, "{printed}");
    }

    /// Returns whether the command succeeded, and what it printed.
    fn try_accept(&self, options: &[&str]) -> (bool, String) {
        let sha256 = self.host.connection("old")["newest_sha256"].clone();
        let sha256 = sha256.as_str().expect("a hash");
        let words = ["connections", "accept", "old", "--yes", "--sha256", sha256];
        self.host.run_cli(&[&words, options].concat())
    }
}

#[test]
fn a_new_origin_or_a_new_place_of_a_secret_waits_for_consent() {
    for (build, what) in [ANOTHER_ORIGIN, ANOTHER_PLACE] {
        let mut upgrade = Upgrade::start();
        upgrade.install(build);
        assert_eq!(
            upgrade.build_used(&upgrade.old_connection),
            1,
            "{what}: the new version serves without consent"
        );
        assert_eq!(
            upgrade.build_used(&upgrade.add_connection(json!({}))),
            build,
            "{what}: the new version does not serve a new connection"
        );
        upgrade.host.restart();
        assert_eq!(
            upgrade.build_used(&upgrade.old_connection),
            1,
            "{what}: a restart counted as consent"
        );
        upgrade.accept();
        assert_eq!(
            upgrade.build_used(&upgrade.old_connection),
            build,
            "{what}: the accepted version does not serve"
        );
        upgrade.host.restart();
        assert_eq!(
            upgrade.build_used(&upgrade.old_connection),
            build,
            "{what}: the accepted version does not serve after a restart"
        );
    }
}

#[test]
fn the_console_says_which_connections_wait_for_consent() {
    let upgrade = Upgrade::start();
    let browser = Browser::sign_in(&upgrade.host, upgrade.host.admin_token());
    let account = browser.get("/api/v1/account").expect(200);
    let form = format!("csrf={}", account["csrf"].as_str().expect("a CSRF token"));
    let roll_back = |build: u32| {
        let sha256 = Guest::named("asks-more").with_build(build).sha256();
        let content_type = [("content-type", "application/x-www-form-urlencoded")];
        let path = format!("/connectors/c/rollback/{sha256}");
        let answer = browser.send("POST", &path, &content_type, &form);
        assert_eq!(answer.status, 303, "{answer:?}");
        answer.header("set-cookie").expect("a message").replace("%20", " ")
    };
    let asks_for_more = || {
        let page = browser.get(&format!("/connections/{}/consent", upgrade.old_connection.id));
        assert_eq!(page.status, 200, "{page:?}");
        page.body.contains("asks for more than was granted")
    };
    assert!(!asks_for_more());
    upgrade.install(ANOTHER_ORIGIN.0);
    assert!(asks_for_more());
    let message = roll_back(1);
    assert!(message.contains("The earlier version is in use now%2E"), "{message}");
    let message = roll_back(ANOTHER_ORIGIN.0);
    let expected = "is in use now%2C except by connections that wait for consent %281%29";
    assert!(message.contains(expected), "{message}");
}

/// The request that the tracker receives shows the place of the secret.
#[test]
fn a_secret_stays_in_its_place_until_another_place_is_accepted() {
    let upgrade = Upgrade::start();
    let sent_header = |name: &str| {
        upgrade.host.create(&upgrade.old_connection, &failed_test()).assert_status(200);
        upgrade.tracker.last_request().header(name).map(str::to_owned)
    };
    upgrade.install(ANOTHER_PLACE.0);
    assert_eq!(sent_header("authorization"), None);
    assert_eq!(sent_header("x-key").as_deref(), Some("k3y-of-qa"));
    upgrade.accept();
    assert_eq!(sent_header("authorization").as_deref(), Some("Bearer k3y-of-qa"));
    assert_eq!(sent_header("x-key"), None);
}

#[test]
fn a_new_required_setting_must_be_set_before_the_version_serves() {
    let (build, name) = ANOTHER_SETTING;
    let upgrade = Upgrade::start();
    upgrade.install(build);
    assert_eq!(upgrade.build_used(&upgrade.old_connection), 1);
    let (accepted, printed) = upgrade.try_accept(&[]);
    assert!(!accepted && printed.contains(name), "the missing setting is not named: {printed}");
    assert_eq!(
        upgrade.build_used(&upgrade.old_connection),
        1,
        "a refused consent changed the version"
    );
    assert_eq!(upgrade.build_used(&upgrade.add_connection(json!({"team": "blue"}))), build);
    let (edited, printed) =
        upgrade.host.run_cli(&["connections", "edit", "old", "--set", "team=blue"]);
    assert!(edited, "{printed}");
    assert_eq!(
        upgrade.build_used(&upgrade.old_connection),
        build,
        "the value is set, but the version does not serve"
    );
}

/// An edit that sets a value is not a consent to an origin. One `accept` command can set the value
/// and consent.
#[test]
fn setting_a_value_is_not_consent_to_another_origin() {
    let (build, [origin, setting]) = ORIGIN_AND_SETTING;
    let upgrade = Upgrade::start();
    upgrade.install(build);
    let (edited, printed) =
        upgrade.host.run_cli(&["connections", "edit", "old", "--set", "team=blue"]);
    assert!(!edited && printed.contains(origin) && printed.contains("accept"), "{printed}");
    assert_eq!(upgrade.build_used(&upgrade.old_connection), 1);
    let (accepted, printed) = upgrade.try_accept(&[]);
    assert!(!accepted && printed.contains(setting), "the missing setting is not named: {printed}");
    assert_eq!(upgrade.build_used(&upgrade.old_connection), 1);
    let grants = upgrade.host.connection("old")["grants"].to_string();
    assert!(!grants.contains(origin), "{grants}");
    let needs = upgrade.needs_consent().to_string();
    assert!(needs.contains("--set team=VALUE"), "{needs}");
    let (_, found) = upgrade.host.run_cli(&["doctor"]);
    let warning = found.lines().find(|line| line.contains("consent")).unwrap_or_default();
    assert!(warning.contains("warn") && warning.contains("old"), "{found}");
    let (accepted, printed) = upgrade.try_accept(&["--set", "team=blue"]);
    assert!(accepted, "{printed}");
    assert_eq!(upgrade.build_used(&upgrade.old_connection), build);
}

/// A consent must never apply to a version that the person did not see.
#[test]
fn only_the_version_that_a_person_saw_is_accepted() {
    let upgrade = Upgrade::start();
    upgrade.install(ANOTHER_PLACE.0);
    let sha256 = upgrade.host.connection("old")["newest_sha256"].clone();
    upgrade.install(ANOTHER_ORIGIN.0);
    let path = format!("/connections/old/accept?sha256={}", sha256.as_str().expect("a hash"));
    let answer = upgrade.host.admin().json("POST", &path, &json!({}));
    answer.assert_problem(409, "conflict");
    assert_eq!(upgrade.build_used(&upgrade.old_connection), 1);
    let (accepted, printed) = upgrade.try_accept(&[]);
    assert!(
        accepted && printed.contains(ANOTHER_ORIGIN.1),
        "the command did not print what it grants: {printed}"
    );
    assert_eq!(upgrade.build_used(&upgrade.old_connection), ANOTHER_ORIGIN.0);
}

#[test]
fn consent_applies_only_to_the_version_that_the_command_showed() {
    let upgrade = Upgrade::start();
    upgrade.install(ANOTHER_PLACE.0);
    let sha256 = upgrade.host.connection("old")["newest_sha256"].clone();
    let sha256 = sha256.as_str().expect("a hash");
    let answer_question = |meanwhile: &dyn Fn(), answer: &str| {
        let mut command = upgrade.host.cli(&["connections", "accept", "old"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut accept_process = command.spawn().expect("the binary starts");
        let (mut shown, mut byte) = (Vec::new(), [0]);
        let stderr = accept_process.stderr.as_mut().expect("stderr");
        while !shown.ends_with(b"[y/N]") && stderr.read(&mut byte).expect("the command asks") > 0 {
            shown.push(byte[0]);
        }
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(shown.contains(ANOTHER_PLACE.1) && shown.contains(sha256), "{shown}");
        meanwhile();
        accept_process
            .stdin
            .take()
            .expect("stdin")
            .write_all(answer.as_bytes())
            .expect("the answer is written");
        let output = accept_process.wait_with_output().expect("the command ends");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for answer in ["", "\n", "n\n", "nothing else matters\n"] {
        let (accepted, error) = answer_question(&|| (), answer);
        assert!(!accepted && error.contains("--yes --sha256"), "{answer:?}: {error}");
    }
    assert_eq!(upgrade.build_used(&upgrade.old_connection), 1);
    let (accepted, error) = answer_question(&|| upgrade.install(ANOTHER_ORIGIN.0), "y\n");
    assert!(!accepted && error.contains("has changed"), "{error}");
    assert_eq!(
        upgrade.build_used(&upgrade.old_connection),
        1,
        "a version was accepted that was not shown"
    );
    upgrade.install(ANOTHER_PLACE.0);
    assert!(answer_question(&|| (), "y\n").0);
    assert_eq!(upgrade.build_used(&upgrade.old_connection), ANOTHER_PLACE.0);

    let answer = upgrade.host.admin().json("POST", "/connections/old/accept", &json!({}));
    assert!(answer.status == 400 && answer.body.contains("sha256"), "{answer:?}");
}

#[test]
fn an_edit_prints_where_secrets_are_sent_from_now_on() {
    let upgrade = Upgrade::start();
    let edit = |set: &str| upgrade.host.run_cli(&["connections", "edit", "old", "--set", set]);
    let (edited, printed) = edit("url=http://127.0.0.1:9");
    assert!(edited, "{printed}");
    for word in ["From now on", "key is sent to http://127.0.0.1:9", "x-key"] {
        assert!(printed.contains(word), "{word} is missing in: {printed}");
    }
    let (_, printed) = edit("url=http://127.0.0.1:9/");
    assert!(
        !printed.contains("From now on"),
        "the command reports another origin, but the origin is the same: {printed}"
    );
}

#[test]
fn a_connection_can_be_edited_after_a_version_dropped_a_secret() {
    let upgrade = Upgrade::start();
    upgrade.install(WITHOUT_SECRET);
    assert_eq!(upgrade.build_used(&upgrade.old_connection), WITHOUT_SECRET);
    let (edited, printed) =
        upgrade.host.run_cli(&["connections", "edit", "old", "--rename", "renamed"]);
    assert!(edited, "{printed}");
    let unknown = json!({"settings": {"nonsense": "x"}});
    let answer = upgrade.host.admin().json("PATCH", "/connections/renamed", &unknown);
    answer.assert_problem(422, "invalid-values");
    assert!(answer.body.contains("nonsense"), "{answer:?}");
}

/// The test deletes the compiled code, which a new version of Wasmtime could not use.
#[test]
fn an_accepted_version_survives_a_change_of_the_engine() {
    let mut upgrade = Upgrade::start();
    upgrade.install(ANOTHER_ORIGIN.0);
    assert_eq!(upgrade.build_used(&upgrade.old_connection), 1);
    assert!(upgrade.host.stop().success());
    let compiled = upgrade.host.data("compiled");
    for entry in std::fs::read_dir(compiled).expect("the folder of compiled code") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|kind| kind != "wasm") {
            std::fs::remove_file(path).expect("the file is removed");
        }
    }
    upgrade.host.restart();
    wait_for("the accepted version to be compiled again", 60, || {
        (upgrade.host.create(&upgrade.old_connection, &failed_test()).status == 200).then_some(())
    });
    assert_eq!(upgrade.build_used(&upgrade.old_connection), 1);
}

#[test]
fn a_pending_consent_is_listed_with_the_new_requests_until_it_is_given() {
    for (build, what) in [ANOTHER_ORIGIN, ANOTHER_PLACE, ANOTHER_SETTING] {
        let mut upgrade = Upgrade::start();
        assert_eq!(
            upgrade.needs_consent(),
            Value::Null,
            "a consent is pending before the new version"
        );
        upgrade.install(build);
        for _ in 0..2 {
            let needs = upgrade.needs_consent();
            let new = needs.as_array().unwrap_or_else(|| panic!("{what}: not listed: {needs}"));
            assert_eq!(new.len(), 1, "more than the new request is listed: {needs}");
            assert!(needs[0].as_str().is_some_and(|text| text.contains(what)), "{what}: {needs}");
            let (_, listed) = upgrade.host.run_cli(&["connections", "list"]);
            assert!(listed.contains("needs-consent"), "{what}: {listed}");
            upgrade.host.restart();
            let message = "waits for consent to the newest version";
            wait_for("the log to name the connection", 20, || {
                let log = upgrade.host.output();
                let line = log.lines().find(|line| line.contains(message))?.to_owned();
                (line.contains("old") && line.contains(what)).then_some(())
            });
        }
        if build != ANOTHER_SETTING.0 {
            upgrade.accept();
            assert_eq!(
                upgrade.needs_consent(),
                Value::Null,
                "{what}: the consent is still pending"
            );
        }
    }
}

#[test]
fn a_version_that_requests_the_same_or_less_serves_without_consent() {
    let upgrade = Upgrade::start();
    upgrade.install(SAME_REQUESTS[0]);
    assert_eq!(upgrade.build_used(&upgrade.old_connection), SAME_REQUESTS[0]);
    upgrade.install(ANOTHER_ORIGIN.0);
    upgrade.accept();
    assert_eq!(upgrade.build_used(&upgrade.old_connection), ANOTHER_ORIGIN.0);
    upgrade.install(SAME_REQUESTS[1]);
    assert_eq!(
        upgrade.build_used(&upgrade.old_connection),
        SAME_REQUESTS[1],
        "a version with fewer origins does not serve"
    );
}

#[test]
fn a_version_that_no_longer_has_a_secret_serves_without_consent() {
    let upgrade = Upgrade::start();
    upgrade.install(WITHOUT_SECRET);
    assert_eq!(upgrade.build_used(&upgrade.old_connection), WITHOUT_SECRET);
}

/// The connection stays on the version that served it last, which needed no consent.
#[test]
fn a_pending_consent_never_brings_an_older_version_back() {
    let mut upgrade = Upgrade::start();
    upgrade.install(SAME_REQUESTS[0]);
    assert_eq!(upgrade.build_used(&upgrade.old_connection), SAME_REQUESTS[0]);
    upgrade.install(ANOTHER_ORIGIN.0);
    assert_eq!(upgrade.build_used(&upgrade.old_connection), SAME_REQUESTS[0]);
    upgrade.host.restart();
    assert_eq!(
        upgrade.build_used(&upgrade.old_connection),
        SAME_REQUESTS[0],
        "the version changed after a restart"
    );
}
