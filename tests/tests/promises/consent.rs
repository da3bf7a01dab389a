//! A version that asks for more than a person granted does not get it by being dropped into the folder:
//! it serves new connections and those that accepted it; the others stay on the version they had.

use jackfield_tests::{
    Connection, Guest, Peer, Reply, Response, Setup, TestHost, failed_test, until,
};
use serde_json::{Value, json};

/// The build of `asks-more`, and what is new in it, as people are told.
const ANOTHER_ORIGIN: (u32, &str) = (2, "http://mirror.test:8080");
const ANOTHER_PLACE: (u32, &str) = (3, "bearer");
const ANOTHER_SETTING: (u32, &str) = (4, "team");
const NO_SECRET: u32 = 5;
/// Another origin and another setting at once.
const BOTH: (u32, [&str; 2]) = (8, ["http://mirror.test:8080", "team"]);
/// These ask for what the first build asks for.
const THE_SAME: [u32; 2] = [6, 7];

struct Bench {
    host: TestHost,
    tracker: Peer,
    old: Connection,
}

fn bench() -> Bench {
    let host = Setup::new().plugin("c", &Guest::named("asks-more").build(1)).start();
    let tracker = Peer::start(|_| Reply::Answer(Response::json(201, r#"{"issue":{"id":7}}"#)));
    let settings = json!({"url": tracker.url()});
    let old = host.connect("old", "c", settings, json!({"key": "k3y-of-qa"}));
    Bench { host, tracker, old }
}

impl Bench {
    fn install(&self, build: u32) {
        let guest = Guest::named("asks-more").build(build);
        self.host.install("c", &guest);
        self.host.await_connector("c", "ready", Some(&guest.sha256()));
    }

    /// A connection made now.
    fn fresh(&self, more: Value) -> Connection {
        let mut settings = json!({"url": self.tracker.url()});
        settings
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().expect("one"));
        self.host.connect("fresh", "c", settings, json!({"key": "k3y-of-qa"}))
    }

    /// The build that serves a connection: by its answer, and by what the event says of the run.
    #[track_caller]
    fn serving(&self, connection: &Connection) -> u32 {
        let answer = self.host.create(connection, &failed_test());
        let run = self.host.event(&answer.event())["runs"][0].clone();
        let name = answer.expect(200)["name"].as_str().expect("a name").to_owned();
        let build = name.strip_prefix("build ").and_then(|n| n.parse().ok()).expect("a build");
        assert_eq!(run["connector_version"], format!("1.0.{build}"), "{run}");
        let sha256 = Guest::named("asks-more").build(build).sha256();
        assert_eq!(run["connector_sha256"], sha256, "{run}");
        build
    }

    /// What the old connection is asked to accept: as the API says it.
    fn needs(&self) -> Value {
        self.host.admin().get("/connections/old").expect(200)["needs_consent"].clone()
    }

    fn cli(&self, words: &[&str]) -> (bool, String) {
        let output = self.host.cli(words).output().expect("the binary starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }

    #[track_caller]
    fn accept(&self) {
        let (accepted, said) = self.cli(&["connections", "accept", "old"]);
        assert!(accepted, "{said}");
    }
}

#[test]
fn another_origin_or_another_place_of_a_secret_waits_for_a_person() {
    for (build, what) in [ANOTHER_ORIGIN, ANOTHER_PLACE] {
        let mut bench = bench();
        bench.install(build);
        assert_eq!(bench.serving(&bench.old), 1, "{what}: it took what nobody granted");
        assert_eq!(bench.serving(&bench.fresh(json!({}))), build, "{what}: a new connection");
        bench.host.start_again();
        assert_eq!(bench.serving(&bench.old), 1, "{what}: a restart is no consent");
        bench.accept();
        assert_eq!(bench.serving(&bench.old), build, "{what}: accepted");
        bench.host.start_again();
        assert_eq!(bench.serving(&bench.old), build, "{what}: accepted for good");
    }
}

/// The place decides what the tracker sees, so that is where it is looked at.
#[test]
fn a_secret_stays_in_its_place_until_another_is_accepted() {
    let bench = bench();
    let seen = |name: &str| {
        let _ = bench.serving(&bench.old);
        let request = bench.tracker.requests().pop().expect("a request");
        request.header(name).map(str::to_owned)
    };
    bench.install(ANOTHER_PLACE.0);
    assert_eq!(seen("authorization"), None);
    assert_eq!(seen("x-key").as_deref(), Some("k3y-of-qa"));
    bench.accept();
    assert_eq!(seen("authorization").as_deref(), Some("Bearer k3y-of-qa"));
    assert_eq!(seen("x-key"), None);
}

#[test]
fn a_new_required_setting_is_given_before_the_version_serves() {
    let (build, name) = ANOTHER_SETTING;
    let bench = bench();
    bench.install(build);
    assert_eq!(bench.serving(&bench.old), 1);
    let (accepted, said) = bench.cli(&["connections", "accept", "old"]);
    assert!(!accepted && said.contains(name), "the missing setting is named: {said}");
    assert_eq!(bench.serving(&bench.old), 1, "a refused consent is none");
    assert_eq!(bench.serving(&bench.fresh(json!({"team": "blue"}))), build);
    let (edited, said) = bench.cli(&["connections", "edit", "old", "--set", "team=blue"]);
    assert!(edited, "{said}");
    assert_eq!(bench.serving(&bench.old), build, "whoever gives the setting wants the version");
}

/// Giving a setting is no consent to an origin; both can be given at once.
#[test]
fn a_setting_is_no_consent_to_what_else_is_asked() {
    let (build, [origin, setting]) = BOTH;
    let bench = bench();
    bench.install(build);
    let (edited, said) = bench.cli(&["connections", "edit", "old", "--set", "team=blue"]);
    assert!(!edited && said.contains(origin) && said.contains("accept"), "{said}");
    assert_eq!(bench.serving(&bench.old), 1);
    let (accepted, said) = bench.cli(&["connections", "accept", "old"]);
    assert!(!accepted && said.contains(setting), "the missing setting is named: {said}");
    assert_eq!(bench.serving(&bench.old), 1);
    let grants = bench.host.admin().get("/connections/old").expect(200)["grants"].to_string();
    assert!(!grants.contains(origin), "{grants}");
    let (accepted, said) = bench.cli(&["connections", "accept", "old", "--set", "team=blue"]);
    assert!(accepted, "{said}");
    assert_eq!(bench.serving(&bench.old), build);
}

/// What a person looked at is what they accept, whatever lands meanwhile.
#[test]
fn another_version_than_the_one_looked_at_is_not_accepted() {
    let bench = bench();
    bench.install(ANOTHER_PLACE.0);
    let seen = bench.host.admin().get("/connections/old").expect(200)["newest_sha256"].clone();
    bench.install(ANOTHER_ORIGIN.0);
    let path = format!("/connections/old/accept?sha256={}", seen.as_str().expect("a hash"));
    let answer = bench.host.admin().json("POST", &path, &json!({}));
    assert!(answer.problem(409).contains("another"), "{answer:?}");
    assert_eq!(bench.serving(&bench.old), 1);
    let (accepted, said) = bench.cli(&["connections", "accept", "old"]);
    assert!(accepted && said.contains(ANOTHER_ORIGIN.1), "what is granted is told: {said}");
    assert_eq!(bench.serving(&bench.old), ANOTHER_ORIGIN.0);
}

/// What a version has no use for any more stands in nobody's way.
#[test]
fn a_connection_can_be_edited_after_a_version_dropped_a_setting() {
    let bench = bench();
    bench.install(NO_SECRET);
    assert_eq!(bench.serving(&bench.old), NO_SECRET);
    let (edited, said) = bench.cli(&["connections", "edit", "old", "--rename", "renamed"]);
    assert!(edited, "{said}");
    let unknown = json!({"settings": {"nonsense": "x"}});
    let answer = bench.host.admin().json("PATCH", "/connections/renamed", &unknown);
    assert!(answer.problem(422).contains("nonsense"), "{answer:?}");
}

/// An upgrade of the host knows none of the code that the engine before compiled: what was accepted is
/// compiled again from the file that was kept.
#[test]
fn an_accepted_version_outlives_another_engine() {
    let mut bench = bench();
    bench.install(ANOTHER_ORIGIN.0);
    assert_eq!(bench.serving(&bench.old), 1);
    assert!(bench.host.stop().success());
    let compiled = bench.host.folder().join("data/compiled");
    for entry in std::fs::read_dir(compiled).expect("the folder of compiled code") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|kind| kind != "wasm") {
            std::fs::remove_file(path).expect("removed");
        }
    }
    bench.host.start_again();
    until("the accepted version to be compiled again", 60, || {
        (bench.host.create(&bench.old, &failed_test()).status == 200).then_some(())
    });
    assert_eq!(bench.serving(&bench.old), 1);
}

#[test]
fn what_waits_for_consent_is_shown_with_what_is_new_until_it_is_accepted() {
    for (build, what) in [ANOTHER_ORIGIN, ANOTHER_PLACE, ANOTHER_SETTING] {
        let mut bench = bench();
        assert_eq!(bench.needs(), Value::Null, "nothing waits");
        bench.install(build);
        for _ in 0..2 {
            let needs = bench.needs();
            let news = needs.as_array().unwrap_or_else(|| panic!("{what}: not shown: {needs}"));
            assert_eq!(news.len(), 1, "only what is new is named: {needs}");
            assert!(needs[0].as_str().is_some_and(|text| text.contains(what)), "{what}: {needs}");
            let (_, listed) = bench.cli(&["connections", "list"]);
            assert!(listed.contains("needs-consent"), "{what}: {listed}");
            bench.host.start_again();
        }
        if build != ANOTHER_SETTING.0 {
            bench.accept();
            assert_eq!(bench.needs(), Value::Null, "{what}: accepted");
        }
    }
}

#[test]
fn a_version_that_asks_for_the_same_or_for_less_serves_at_once() {
    let bench = bench();
    bench.install(THE_SAME[0]);
    assert_eq!(bench.serving(&bench.old), THE_SAME[0]);
    bench.install(ANOTHER_ORIGIN.0);
    bench.accept();
    assert_eq!(bench.serving(&bench.old), ANOTHER_ORIGIN.0);
    bench.install(THE_SAME[1]);
    assert_eq!(bench.serving(&bench.old), THE_SAME[1], "one origin less is no news");
}

#[test]
fn a_version_that_wants_no_secret_any_more_serves_at_once() {
    let bench = bench();
    bench.install(NO_SECRET);
    assert_eq!(bench.serving(&bench.old), NO_SECRET);
}

/// A version that needed no consent was served, so that is where the connection stays: a file that asks
/// for more takes nobody back to an older version.
#[test]
fn a_version_that_waits_takes_nobody_back() {
    let mut bench = bench();
    bench.install(THE_SAME[0]);
    assert_eq!(bench.serving(&bench.old), THE_SAME[0]);
    bench.install(ANOTHER_ORIGIN.0);
    assert_eq!(bench.serving(&bench.old), THE_SAME[0]);
    bench.host.start_again();
    assert_eq!(bench.serving(&bench.old), THE_SAME[0], "after a restart");
}
