//! A new version that requests more than a person granted does not get it by being put into the
//! folder: it serves new connections and those that accepted it; the others stay on the version
//! that they had.

use std::io::{Read, Write};
use std::process::Stdio;

use jackfield_tests::{
    Connection, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test, merge, wait_for,
};
use serde_json::{Value, json};

/// A build of `asks-more`, and what it requests more than build 1, as people read it.
const ANOTHER_ORIGIN: (u32, &str) = (2, "http://mirror.test:8080");
const ANOTHER_PLACE: (u32, &str) = (3, "bearer");
const ANOTHER_SETTING: (u32, &str) = (4, "team");
const NO_SECRET: u32 = 5;
/// Another origin and another setting.
const BOTH: (u32, [&str; 2]) = (8, ["http://mirror.test:8080", "team"]);
/// These builds request what build 1 requests.
const THE_SAME: [u32; 2] = [6, 7];

/// A server with the connector `asks-more` as `c`, and a connection created with build 1.
struct Upgrade {
    host: TestHost,
    tracker: ScriptedServer,
    old: Connection,
}

impl Upgrade {
    fn start() -> Self {
        let host = Setup::new().plugin("c", &Guest::named("asks-more").with_build(1)).start();
        let tracker = ScriptedServer::start(|_| Reply::created(7));
        let settings = json!({"url": tracker.url()});
        let old = host.connect("old", "c", settings, json!({"key": "k3y-of-qa"}));
        Self { host, tracker, old }
    }

    fn install(&self, build: u32) {
        self.host.replace("c", &Guest::named("asks-more").with_build(build));
    }

    /// A new connection.
    fn connect(&self, more: Value) -> Connection {
        let settings = merge(json!({"url": self.tracker.url()}), more);
        self.host.connect("new", "c", settings, json!({"key": "k3y-of-qa"}))
    }

    /// The build that serves a connection, by the defect and by the event's run.
    #[track_caller]
    fn serving(&self, connection: &Connection) -> u32 {
        let answer = self.host.create(connection, &failed_test());
        let run = self.host.run_of(&answer);
        let name = answer.expect(200)["name"].as_str().expect("a name").to_owned();
        let build = name.strip_prefix("build ").and_then(|n| n.parse().ok()).expect("a build");
        assert_eq!(run["connector_version"], format!("1.0.{build}"), "{run}");
        let sha256 = Guest::named("asks-more").with_build(build).sha256();
        assert_eq!(run["connector_sha256"], sha256, "{run}");
        build
    }

    /// What the API asks a person to accept for the old connection.
    fn needs_consent(&self) -> Value {
        self.host.connection("old")["needs_consent"].clone()
    }

    #[track_caller]
    fn accept(&self) {
        let (accepted, printed) = self.try_accept(&[]);
        assert!(accepted, "{printed}");
    }

    /// Accepts the newest version, as a script does that has shown it to a person.
    fn try_accept(&self, more: &[&str]) -> (bool, String) {
        let sha256 = self.host.connection("old")["newest_sha256"].clone();
        let sha256 = sha256.as_str().expect("a hash");
        let words = ["connections", "accept", "old", "--yes", "--sha256", sha256];
        self.host.run_cli(&[&words, more].concat())
    }
}

#[test]
fn another_origin_or_another_place_of_a_secret_waits_for_a_person() {
    for (build, what) in [ANOTHER_ORIGIN, ANOTHER_PLACE] {
        let mut upgrade = Upgrade::start();
        upgrade.install(build);
        assert_eq!(upgrade.serving(&upgrade.old), 1, "{what}: not granted");
        assert_eq!(upgrade.serving(&upgrade.connect(json!({}))), build, "{what}: a new connection");
        upgrade.host.restart();
        assert_eq!(upgrade.serving(&upgrade.old), 1, "{what}: a restart is not a consent");
        upgrade.accept();
        assert_eq!(upgrade.serving(&upgrade.old), build, "{what}: accepted");
        upgrade.host.restart();
        assert_eq!(upgrade.serving(&upgrade.old), build, "{what}: accepted, after a restart");
    }
}

/// Checked at the tracker, which sees where the secret is.
#[test]
fn a_secret_stays_in_its_place_until_another_place_is_accepted() {
    let upgrade = Upgrade::start();
    let sent = |name: &str| {
        upgrade.host.create(&upgrade.old, &failed_test()).assert_status(200);
        upgrade.tracker.last_request().header(name).map(str::to_owned)
    };
    upgrade.install(ANOTHER_PLACE.0);
    assert_eq!(sent("authorization"), None);
    assert_eq!(sent("x-key").as_deref(), Some("k3y-of-qa"));
    upgrade.accept();
    assert_eq!(sent("authorization").as_deref(), Some("Bearer k3y-of-qa"));
    assert_eq!(sent("x-key"), None);
}

#[test]
fn a_new_required_setting_is_set_before_the_version_serves() {
    let (build, name) = ANOTHER_SETTING;
    let upgrade = Upgrade::start();
    upgrade.install(build);
    assert_eq!(upgrade.serving(&upgrade.old), 1);
    let (accepted, printed) = upgrade.try_accept(&[]);
    assert!(!accepted && printed.contains(name), "the missing setting is named: {printed}");
    assert_eq!(upgrade.serving(&upgrade.old), 1, "a refused consent changes nothing");
    assert_eq!(upgrade.serving(&upgrade.connect(json!({"team": "blue"}))), build);
    let (edited, printed) =
        upgrade.host.run_cli(&["connections", "edit", "old", "--set", "team=blue"]);
    assert!(edited, "{printed}");
    assert_eq!(upgrade.serving(&upgrade.old), build, "setting the value accepts the version");
}

/// To set a value is not a consent to an origin; one command can do both.
#[test]
fn a_set_value_is_not_a_consent_to_another_origin() {
    let (build, [origin, setting]) = BOTH;
    let upgrade = Upgrade::start();
    upgrade.install(build);
    let (edited, printed) =
        upgrade.host.run_cli(&["connections", "edit", "old", "--set", "team=blue"]);
    assert!(!edited && printed.contains(origin) && printed.contains("accept"), "{printed}");
    assert_eq!(upgrade.serving(&upgrade.old), 1);
    let (accepted, printed) = upgrade.try_accept(&[]);
    assert!(!accepted && printed.contains(setting), "the missing setting is named: {printed}");
    assert_eq!(upgrade.serving(&upgrade.old), 1);
    let grants = upgrade.host.connection("old")["grants"].to_string();
    assert!(!grants.contains(origin), "{grants}");
    let (accepted, printed) = upgrade.try_accept(&["--set", "team=blue"]);
    assert!(accepted, "{printed}");
    assert_eq!(upgrade.serving(&upgrade.old), build);
}

/// A person accepts the version that they looked at, even if another was installed in the
/// meantime.
#[test]
fn only_the_version_that_a_person_looked_at_is_accepted() {
    let upgrade = Upgrade::start();
    upgrade.install(ANOTHER_PLACE.0);
    let sha256 = upgrade.host.connection("old")["newest_sha256"].clone();
    upgrade.install(ANOTHER_ORIGIN.0);
    let path = format!("/connections/old/accept?sha256={}", sha256.as_str().expect("a hash"));
    let answer = upgrade.host.admin().json("POST", &path, &json!({}));
    answer.assert_problem(409, "conflict");
    assert_eq!(upgrade.serving(&upgrade.old), 1);
    let (accepted, printed) = upgrade.try_accept(&[]);
    assert!(
        accepted && printed.contains(ANOTHER_ORIGIN.1),
        "the command prints what it grants: {printed}"
    );
    assert_eq!(upgrade.serving(&upgrade.old), ANOTHER_ORIGIN.0);
}

/// The command shows what is new and asks; the answer is to what it showed.
#[test]
fn a_consent_is_to_what_the_command_showed() {
    let upgrade = Upgrade::start();
    upgrade.install(ANOTHER_PLACE.0);
    let sha256 = upgrade.host.connection("old")["newest_sha256"].clone();
    let sha256 = sha256.as_str().expect("a hash");
    let ask = |meanwhile: &dyn Fn(), answer: &str| {
        let mut command = upgrade.host.cli(&["connections", "accept", "old"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut asking = command.spawn().expect("the binary starts");
        let (mut shown, mut byte) = (Vec::new(), [0]);
        let stderr = asking.stderr.as_mut().expect("stderr");
        while !shown.ends_with(b"[y/N]") && stderr.read(&mut byte).expect("a question") > 0 {
            shown.push(byte[0]);
        }
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(shown.contains(ANOTHER_PLACE.1) && shown.contains(sha256), "{shown}");
        meanwhile();
        asking.stdin.take().expect("stdin").write_all(answer.as_bytes()).expect("answered");
        let done = asking.wait_with_output().expect("it ends");
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    for answer in ["", "\n", "n\n", "nothing else matters\n"] {
        let (accepted, error) = ask(&|| (), answer);
        assert!(!accepted && error.contains("--yes --sha256"), "{answer:?}: {error}");
    }
    assert_eq!(upgrade.serving(&upgrade.old), 1);
    let (accepted, error) = ask(&|| upgrade.install(ANOTHER_ORIGIN.0), "y\n");
    assert!(!accepted && error.contains("has changed"), "{error}");
    assert_eq!(upgrade.serving(&upgrade.old), 1, "another version than the one that was shown");
    upgrade.install(ANOTHER_PLACE.0);
    assert!(ask(&|| (), "y\n").0);
    assert_eq!(upgrade.serving(&upgrade.old), ANOTHER_PLACE.0);

    let answer = upgrade.host.admin().json("POST", "/connections/old/accept", &json!({}));
    assert!(answer.status == 400 && answer.body.contains("sha256"), "{answer:?}");
}

#[test]
fn an_edit_says_where_secrets_go_from_now_on() {
    let upgrade = Upgrade::start();
    let edit = |set: &str| upgrade.host.run_cli(&["connections", "edit", "old", "--set", set]);
    let (edited, printed) = edit("url=http://127.0.0.1:9");
    assert!(edited, "{printed}");
    for word in ["From now on", "key goes to http://127.0.0.1:9", "x-key"] {
        assert!(printed.contains(word), "no {word} in: {printed}");
    }
    let (_, printed) = edit("url=http://127.0.0.1:9/");
    assert!(!printed.contains("From now on"), "the same origin: {printed}");
}

/// The secret that the version no longer has does not prevent the edit.
#[test]
fn a_connection_can_be_edited_after_a_version_dropped_a_setting() {
    let upgrade = Upgrade::start();
    upgrade.install(NO_SECRET);
    assert_eq!(upgrade.serving(&upgrade.old), NO_SECRET);
    let (edited, printed) =
        upgrade.host.run_cli(&["connections", "edit", "old", "--rename", "renamed"]);
    assert!(edited, "{printed}");
    let unknown = json!({"settings": {"nonsense": "x"}});
    let answer = upgrade.host.admin().json("PATCH", "/connections/renamed", &unknown);
    answer.assert_problem(422, "invalid-values");
    assert!(answer.body.contains("nonsense"), "{answer:?}");
}

/// A new engine cannot use the code that the old one compiled, so the host compiles the accepted
/// version again, from its stored file.
#[test]
fn an_accepted_version_survives_a_change_of_the_engine() {
    let mut upgrade = Upgrade::start();
    upgrade.install(ANOTHER_ORIGIN.0);
    assert_eq!(upgrade.serving(&upgrade.old), 1);
    assert!(upgrade.host.stop().success());
    let compiled = upgrade.host.data("compiled");
    for entry in std::fs::read_dir(compiled).expect("the folder of compiled code") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|kind| kind != "wasm") {
            std::fs::remove_file(path).expect("removed");
        }
    }
    upgrade.host.restart();
    wait_for("the accepted version to be compiled again", 60, || {
        (upgrade.host.create(&upgrade.old, &failed_test()).status == 200).then_some(())
    });
    assert_eq!(upgrade.serving(&upgrade.old), 1);
}

#[test]
fn a_pending_consent_is_listed_with_what_is_new_until_it_is_accepted() {
    for (build, what) in [ANOTHER_ORIGIN, ANOTHER_PLACE, ANOTHER_SETTING] {
        let mut upgrade = Upgrade::start();
        assert_eq!(upgrade.needs_consent(), Value::Null, "no consent is pending");
        upgrade.install(build);
        for _ in 0..2 {
            let needs = upgrade.needs_consent();
            let new = needs.as_array().unwrap_or_else(|| panic!("{what}: not listed: {needs}"));
            assert_eq!(new.len(), 1, "only what is new: {needs}");
            assert!(needs[0].as_str().is_some_and(|text| text.contains(what)), "{what}: {needs}");
            let (_, listed) = upgrade.host.run_cli(&["connections", "list"]);
            assert!(listed.contains("needs-consent"), "{what}: {listed}");
            upgrade.host.restart();
        }
        if build != ANOTHER_SETTING.0 {
            upgrade.accept();
            assert_eq!(upgrade.needs_consent(), Value::Null, "{what}: accepted");
        }
    }
}

#[test]
fn a_version_that_requests_the_same_or_less_serves_at_once() {
    let upgrade = Upgrade::start();
    upgrade.install(THE_SAME[0]);
    assert_eq!(upgrade.serving(&upgrade.old), THE_SAME[0]);
    upgrade.install(ANOTHER_ORIGIN.0);
    upgrade.accept();
    assert_eq!(upgrade.serving(&upgrade.old), ANOTHER_ORIGIN.0);
    upgrade.install(THE_SAME[1]);
    assert_eq!(upgrade.serving(&upgrade.old), THE_SAME[1], "one origin less needs no consent");
}

#[test]
fn a_version_that_no_longer_has_a_secret_serves_at_once() {
    let upgrade = Upgrade::start();
    upgrade.install(NO_SECRET);
    assert_eq!(upgrade.serving(&upgrade.old), NO_SECRET);
}

/// The connection was served by a version that needed no consent, and stays on that one.
#[test]
fn a_pending_consent_never_brings_an_older_version_back() {
    let mut upgrade = Upgrade::start();
    upgrade.install(THE_SAME[0]);
    assert_eq!(upgrade.serving(&upgrade.old), THE_SAME[0]);
    upgrade.install(ANOTHER_ORIGIN.0);
    assert_eq!(upgrade.serving(&upgrade.old), THE_SAME[0]);
    upgrade.host.restart();
    assert_eq!(upgrade.serving(&upgrade.old), THE_SAME[0], "after a restart");
}
