//! A recorded event is made again without its tracker, by the same or another version of its
//! connector: nothing leaves, and the answer says how requests and answer differ. Handled for real,
//! it follows the rules of every webhook request.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jackfield_tests::{
    Answer, Connection, Reply, ScriptedServer, Setup, TestHost, failed_test, sha256,
};
use serde_json::{Value, json};

const SECRET: &str = "k3y-of-the-replayed-tracker";

/// A connector that searches for a user and creates a record whose text has these words.
pub(crate) fn script(version: &str, query: &str, words: &str, more: &str) -> String {
    format!(
        "import {{ send }} from 'jackfield:connector/http@0.1.0';
import {{ all }} from 'jackfield:connector/settings@0.1.0';
const schema = {{ type: 'object', required: ['url', 'key'], additionalProperties: false, properties: {{
  url: {{ type: 'string', format: 'uri', 'jackfield:origin': true }}, team: {{ type: 'string' }},
  key: {{ type: 'string', writeOnly: true, 'jackfield:place': {{ in: 'header', name: 'X-Key' }} }} }} }};
export const plugin = {{
  describe: () => ({{ name: 'R', version: '{version}', summary: '', settings: JSON.stringify(schema) }}),
  check: () => 'ready', choices: () => ({{ choices: [], more: false }}) }};
const ask = (method, url, body) => send({{ method, url, headers: [],
  body: body && {{ tag: 'json', val: JSON.stringify(body) }} }});
export const defects = {{
  create(test, marker) {{
    const team = JSON.parse(all()).team ?? 'none';
    console.log(`for ${{team}}`);
    const user = JSON.parse(ask('get', '/users{query}').text);
    const made = JSON.parse(ask('post', '/records', {{ text: `{words} ${{team}} ${{marker}}` }}).text);
    {more}
    return {{ key: `${{made.key}}-${{user.name}}`, title: '{words}', link: 'https://t.example/1' }};
  }},
  find: () => [],
}};
"
    )
}

pub(crate) struct Fixture {
    pub(crate) host: TestHost,
    tracker: ScriptedServer,
    connection: Connection,
    first: String,
}

pub(crate) fn fixture() -> Fixture {
    let first = script("1.0.0", "", "Fails", "");
    let host = Setup::new().script("r", &first).start();
    let records = Arc::new(AtomicU32::new(0));
    let tracker = ScriptedServer::start(move |exchange| {
        let request = exchange.request;
        if request.header("x-key") != Some(SECRET) {
            return Reply::json(401, "{}");
        }
        if request.is_post() {
            let key = records.fetch_add(1, Ordering::SeqCst) + 1;
            return Reply::json(201, &json!({"key": key}).to_string());
        }
        Reply::json(200, r#"{"name":"ada"}"#)
    });
    let settings = json!({"url": tracker.url(), "team": "blue"});
    let connection = host.connect("qa", "r", settings, json!({"key": SECRET}));
    Fixture { host, tracker, connection, first }
}

impl Fixture {
    pub(crate) fn record(&self) {
        let (done, printed) = self.host.run_cli(&["connections", "record", "qa", "--for", "1h"]);
        assert!(done, "{printed}");
    }

    pub(crate) fn create(&self) -> String {
        let created = self.host.create(&self.connection, &failed_test());
        created.assert_status(200);
        created.event()
    }

    /// The number of requests that the tracker received.
    pub(crate) fn requests(&self) -> usize {
        self.tracker.requests().len()
    }

    fn replay(&self, event: &str, body: Value) -> Answer {
        self.host.admin().json("POST", &format!("/events/{event}/replay"), &body)
    }

    /// Installs another version, and waits until it serves.
    pub(crate) fn install(&self, text: &str) -> String {
        let hash = sha256(text.as_bytes());
        fs::write(self.host.folder().join("plugins/r.js"), text).expect("the script is written");
        self.host.await_connector("r", "ready", Some(&hash));
        hash
    }
}

/// The differences of a run's requests, in order.
fn differences(run: &Value) -> Vec<String> {
    let requests = run["requests"].as_array().expect("a list");
    requests
        .iter()
        .map(|it| {
            let url = it["replayed"]["url"].as_str().or(it["recorded"]["url"].as_str());
            let path = url.and_then(|url| url.rsplit('/').next()).unwrap_or_default();
            format!("{} {path} {}", it["difference"].as_str().unwrap_or_default(), it["changed"])
        })
        .collect()
}

#[test]
fn a_replay_sends_nothing_and_compares_requests_and_answer() {
    let fixture = fixture();
    fixture.record();
    let event = fixture.create();
    let (requests, defects) =
        (fixture.tracker.requests().len(), fixture.host.admin().get("/defects").body);

    let same = fixture.replay(&event, json!({}));
    assert!(!same.body.contains(SECRET), "{same:?}");
    let run = &same.expect(200)["runs"][0];
    assert_eq!(run["is_same"], true, "{run}");
    assert_eq!(differences(run), ["same users []", "same records []"]);
    assert_eq!(run["answer"], run["recorded_answer"]);
    assert_eq!(run["answer"]["ok"]["key"], "1-ada", "{run}");
    assert_eq!(run["run"]["log"][0]["message"], "for blue");
    assert!(run["run"]["usage"]["cpu_ms"].is_u64() && run["limits"]["cpu_ms"].is_u64(), "{run}");

    let newest = fixture.install(&script("2.0.0", "?all=1", "Broken", "ask('get', '/more');"));
    let changed = fixture.replay(&event, json!({"version": "newest"})).expect(200);
    let run = &changed["runs"][0];
    assert_eq!(run["is_same"], false, "{run}");
    assert_eq!(
        differences(run),
        ["changed users?all=1 [\"url\"]", "changed records [\"body\"]", "added more []"]
    );
    assert_eq!(run["run"]["connector_sha256"], newest.as_str());
    assert_eq!(run["recorded_sha256"], sha256(fixture.first.as_bytes()));
    assert!(run["answer"]["error"]["detail"].as_str().is_some_and(|it| it.contains("trapped")));
    let body = run["requests"][1]["replayed"]["body"].as_str().expect("a body");
    assert!(body.contains("Broken blue"), "{body}");

    // The version that ran is not the newest any more, and is replayed still.
    let old = fixture.replay(&event, json!({"settings": {"team": "red"}})).expect(200);
    assert_eq!(old["runs"][0]["run"]["connector_version"], "1.0.0");
    assert_eq!(differences(&old["runs"][0])[1], "changed records [\"body\"]");
    fixture.install(
        &script("3.0.0", "", "Fails", "")
            .replace("ask('get', '/users').text", "'{\"name\":\"ada\"}'"),
    );
    let fewer = fixture.replay(&event, json!({"version": "newest"})).expect(200);
    assert_eq!(differences(&fewer["runs"][0]), ["same records []", "missing users []"]);

    assert_eq!(fixture.tracker.requests().len(), requests, "a replay sent a request");
    assert_eq!(fixture.host.admin().get("/defects").body, defects, "a replay changed a defect");
    let connector = fixture.host.admin().get("/connectors/r").expect(200);
    assert_eq!(connector["warning"], Value::Null, "a replay counts as a run of the version");
}

#[test]
fn a_replay_without_a_recording_says_how_recording_is_switched_on() {
    let fixture = fixture();
    let event = fixture.create();
    let refused = fixture.replay(&event, json!({}));
    let why = refused.problem(409, "conflict");
    assert!(why.contains("jackfield connections record qa --for 1h"), "{why}");
    fixture.record();
    let why = fixture.replay(&event, json!({})).problem(409, "conflict");
    assert!(why.contains("records now"), "{why}");
    let nowhere = fixture.host.anonymous().get("/hooks/none").event();
    let why = fixture.replay(&nowhere, json!({})).problem(409, "conflict");
    assert!(why.contains("belongs to no connection"), "{why}");
    fixture
        .replay("00000000-0000-7000-8000-000000000000", json!({}))
        .assert_problem(404, "not-found");
    fixture.replay("x", json!({})).assert_problem(404, "not-found");
    fixture.replay(&event, json!({"versoin": "x"})).assert_problem(400, "bad-request");

    let recorded = fixture.create();
    let why = fixture.replay(&recorded, json!({"version": "abc"})).problem(409, "conflict");
    assert!(why.contains("no version that is kept begins with"), "{why}");
    let why = fixture.replay(&recorded, json!({"call": "count"})).problem(409, "conflict");
    assert!(why.contains("`count`; it has create"), "{why}");
    let why = fixture.replay(&recorded, json!({"settings": {"url": null}}));
    assert!(why.problem(422, "invalid-values").contains("url"));
}

#[test]
fn for_real_a_repeat_follows_the_rules_of_the_claim() {
    let fixture = fixture();
    let event = fixture.create();
    let written = || fixture.tracker.requests().iter().filter(|it| it.is_post()).count();
    assert_eq!(written(), 1);
    let repeated = fixture.replay(&event, json!({"for_real": true})).expect(200);
    let answer = &repeated["for_real"];
    assert_eq!((&answer["status"], &answer["answer"]["id"]), (&json!(200), &json!("1-ada")));
    let new = fixture.host.event(answer["event"].as_str().expect("an event"));
    assert_eq!((&new["outcome"], &new["kind"]), (&json!("repeated"), &json!("create-defect")));
    assert_eq!(written(), 1, "a second record was created");
    let both = fixture.replay(&event, json!({"for_real": true, "version": "newest"}));
    assert!(both.problem(400, "bad-request").contains("for_real"));
    let probe = fixture.host.anonymous().get(&fixture.connection.webhook_path).event();
    let why = fixture.replay(&probe, json!({"for_real": true})).problem(409, "conflict");
    assert!(why.contains("only Create Defect"), "{why}");

    // After a release, it creates once more, as a click does.
    let defect = fixture.host.event(&event)["defect"].as_str().expect("a defect").to_owned();
    let admin = fixture.host.admin();
    admin.json("POST", &format!("/defects/{defect}/release"), &json!({})).assert_status(200);
    let (done, printed) = fixture.host.run_cli(&["events", "replay", &event, "--for-real"]);
    assert!(done && printed.contains("2-ada"), "{printed}");
    assert_eq!(written(), 2);
}

#[test]
fn the_command_line_shows_what_differs() {
    let fixture = fixture();
    fixture.record();
    let event = fixture.create();
    let (done, printed) = fixture.host.run_cli(&["events", "replay", &event]);
    assert!(done && printed.contains("the same as recorded"), "{printed}");
    fixture.install(&script("2.0.0", "", "Broken", ""));
    let words = ["events", "replay", &event, "--version", "newest"];
    let (done, printed) = fixture.host.run_cli(&words);
    for part in ["not the same", "changed: body", "Fails", "Broken", "recorded answer", "for blue"]
    {
        assert!(done && printed.contains(part), "{part}: {printed}");
    }
    let (_, json) = fixture.host.run_cli(&[&words[..], &["--json"]].concat());
    assert!(json.contains("\"difference\": \"changed\""), "{json}");
}
