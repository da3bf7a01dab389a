//! A recorded event is replayed without its tracker, with the same or another version of its
//! connector. A replay sends no request, and reports how the requests and the answer differ from
//! the recording. An event can also be handled again for real.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jackfield_tests::{
    Answer, Connection, Reply, ScriptedServer, Setup, TestHost, failed_test, sha256,
};
use serde_json::{Value, json};

const SECRET: &str = "k3y-of-the-replayed-tracker";

/// Returns a script that searches for a user with this query, creates a record whose text begins
/// with `title`, and then executes the statements in `more`.
pub(crate) fn script(version: &str, query: &str, title: &str, more: &str) -> String {
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
    const made = JSON.parse(ask('post', '/records', {{ text: `{title} ${{team}} ${{marker}}` }}).text);
    {more}
    return {{ key: `${{made.key}}-${{user.name}}`, title: '{title}', link: 'https://t.example/1' }};
  }},
  find: () => [],
}};
"
    )
}

pub(crate) struct ReplayFixture {
    pub(crate) host: TestHost,
    tracker: ScriptedServer,
    connection: Connection,
    first_script: String,
}

pub(crate) fn start_fixture() -> ReplayFixture {
    let first_script = script("1.0.0", "", "Fails", "");
    let host = Setup::new().script("r", &first_script).start();
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
    let connection = host.add_connection("qa", "r", settings, json!({"key": SECRET}));
    ReplayFixture { host, tracker, connection, first_script }
}

impl ReplayFixture {
    pub(crate) fn record(&self) {
        let (succeeded, printed) =
            self.host.run_cli(&["connections", "record", "qa", "--for", "1h"]);
        assert!(succeeded, "{printed}");
    }

    /// Returns the id of the event.
    pub(crate) fn create(&self) -> String {
        let created = self.host.create(&self.connection, &failed_test());
        created.assert_status(200);
        created.event()
    }

    pub(crate) fn request_count(&self) -> usize {
        self.tracker.requests().len()
    }

    fn replay(&self, event: &str, body: Value) -> Answer {
        self.host.admin().json("POST", &format!("/events/{event}/replay"), &body)
    }

    /// Returns the hash of the text.
    pub(crate) fn install(&self, text: &str) -> String {
        let hash = sha256(text.as_bytes());
        fs::write(self.host.folder().join("plugins/r.js"), text).expect("the script is written");
        self.host.await_connector("r", "ready", Some(&hash));
        hash
    }
}

/// Describes how each request of a run differs from the recorded request, in order.
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
    let fixture = start_fixture();
    fixture.record();
    let event = fixture.create();
    let (requests_before, defects_before) =
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
    let by_new_version = fixture.replay(&event, json!({"version": "newest"})).expect(200);
    let run = &by_new_version["runs"][0];
    assert_eq!(run["is_same"], false, "{run}");
    assert_eq!(
        differences(run),
        ["changed users?all=1 [\"url\"]", "changed records [\"body\"]", "added more []"]
    );
    assert_eq!(run["run"]["connector_sha256"], newest.as_str());
    assert_eq!(run["recorded_sha256"], sha256(fixture.first_script.as_bytes()));
    assert!(run["answer"]["error"]["detail"].as_str().is_some_and(|it| it.contains("trapped")));
    let body = run["requests"][1]["replayed"]["body"].as_str().expect("a body");
    assert!(body.contains("Broken blue"), "{body}");

    // By default, a replay uses the version that handled the event, although a newer version is
    // installed.
    let by_old_version = fixture.replay(&event, json!({"settings": {"team": "red"}})).expect(200);
    assert_eq!(by_old_version["runs"][0]["run"]["connector_version"], "1.0.0");
    assert_eq!(differences(&by_old_version["runs"][0])[1], "changed records [\"body\"]");
    fixture.install(
        &script("3.0.0", "", "Fails", "")
            .replace("ask('get', '/users').text", "'{\"name\":\"ada\"}'"),
    );
    let with_fewer_requests = fixture.replay(&event, json!({"version": "newest"})).expect(200);
    assert_eq!(
        differences(&with_fewer_requests["runs"][0]),
        ["same records []", "missing users []"]
    );

    assert_eq!(fixture.tracker.requests().len(), requests_before, "a replay sent a request");
    assert_eq!(
        fixture.host.admin().get("/defects").body,
        defects_before,
        "a replay changed a defect"
    );
    let connector = fixture.host.admin().get("/connectors/r").expect(200);
    assert_eq!(connector["warning"], Value::Null, "a replay counts as a run of the version");
}

#[test]
fn a_replay_without_a_recording_is_refused_and_the_error_names_the_command_that_records() {
    let fixture = start_fixture();
    let event = fixture.create();
    let refused = fixture.replay(&event, json!({}));
    let detail = refused.problem(409, "conflict");
    assert!(detail.contains("jackfield connections record qa --for 1h"), "{detail}");
    fixture.record();
    let detail = fixture.replay(&event, json!({})).problem(409, "conflict");
    assert!(detail.contains("records now"), "{detail}");
    let unknown_event = fixture.host.anonymous().get("/hooks/none").event();
    let detail = fixture.replay(&unknown_event, json!({})).problem(409, "conflict");
    assert!(detail.contains("belongs to no connection"), "{detail}");
    fixture
        .replay("00000000-0000-7000-8000-000000000000", json!({}))
        .assert_problem(404, "not-found");
    fixture.replay("x", json!({})).assert_problem(404, "not-found");
    fixture.replay(&event, json!({"versoin": "x"})).assert_problem(400, "bad-request");

    let recorded = fixture.create();
    let detail = fixture.replay(&recorded, json!({"version": "abc"})).problem(409, "conflict");
    assert!(detail.contains("no kept version has a SHA-256 that begins with"), "{detail}");
    let detail = fixture.replay(&recorded, json!({"call": "count"})).problem(409, "conflict");
    assert!(detail.contains("`count`; it has create"), "{detail}");
    let refused = fixture.replay(&recorded, json!({"settings": {"url": null}}));
    assert!(refused.problem(422, "invalid-values").contains("url"));
}

#[test]
fn an_event_that_is_handled_for_real_creates_no_second_record() {
    let fixture = start_fixture();
    let event = fixture.create();
    let post_count = || fixture.tracker.requests().iter().filter(|it| it.is_post()).count();
    assert_eq!(post_count(), 1);
    let repeated = fixture.replay(&event, json!({"for_real": true})).expect(200);
    let answer = &repeated["for_real"];
    assert_eq!((&answer["status"], &answer["answer"]["id"]), (&json!(200), &json!("1-ada")));
    let new_event = fixture.host.event(answer["event"].as_str().expect("an event"));
    assert_eq!(
        (&new_event["outcome"], &new_event["kind"]),
        (&json!("repeated"), &json!("create-defect"))
    );
    assert_eq!(post_count(), 1, "a second record was created");
    let refused = fixture.replay(&event, json!({"for_real": true, "version": "newest"}));
    assert!(refused.problem(400, "bad-request").contains("for_real"));
    let probe = fixture.host.anonymous().get(&fixture.connection.webhook_path).event();
    let detail = fixture.replay(&probe, json!({"for_real": true})).problem(409, "conflict");
    assert!(detail.contains("only Create Defect"), "{detail}");

    // After a release, the event that is handled again creates another record.
    let defect = fixture.host.event(&event)["defect"].as_str().expect("a defect").to_owned();
    let admin = fixture.host.admin();
    admin.json("POST", &format!("/defects/{defect}/release"), &json!({})).assert_status(200);
    let (succeeded, printed) = fixture.host.run_cli(&["events", "replay", &event, "--for-real"]);
    assert!(succeeded && printed.contains("2-ada"), "{printed}");
    assert_eq!(post_count(), 2);
}

#[test]
fn the_command_events_replay_shows_the_differences() {
    let fixture = start_fixture();
    fixture.record();
    let event = fixture.create();
    let (succeeded, printed) = fixture.host.run_cli(&["events", "replay", &event]);
    assert!(succeeded && printed.contains("the same as recorded"), "{printed}");
    fixture.install(&script("2.0.0", "", "Broken", ""));
    let arguments = ["events", "replay", &event, "--version", "newest"];
    let (succeeded, printed) = fixture.host.run_cli(&arguments);
    for expected in
        ["not the same", "changed: body", "Fails", "Broken", "recorded answer", "for blue"]
    {
        assert!(succeeded && printed.contains(expected), "{expected}: {printed}");
    }
    let (_, json) = fixture.host.run_cli(&[&arguments[..], &["--json"]].concat());
    assert!(json.contains("\"difference\": \"changed\""), "{json}");
}
