//! Events. The id of an event connects the webhook request, the log of the guest, the outbound
//! calls, the defect and the answer. A request whose webhook token is unknown has an event, too.

use jackfield_tests::{Guest, Reply, ScriptedServer, Setup, TestHost, failed_test, wait_for};
use serde_json::{Value, json};

use crate::recurrence::same_test_case_failed_again;

#[test]
fn events_are_listed_filtered_and_paged() {
    let host = Setup::new().guests(["instant"]).start();
    let one = host.add_connection("one", "instant", json!({}), json!({}));
    let other = host.add_connection("other", "instant", json!({}), json!({}));
    let mut created: Vec<_> = (0..7).map(|_| host.create(&one, &failed_test()).event()).collect();
    host.create(&other, &failed_test()).assert_status(200);
    host.kpis(&one, "1").assert_status(200);
    let unknown = host.anonymous().json("POST", "/hooks/unknown", &failed_test()).event();
    let ids = |page: &Value| {
        let events = page["events"].as_array().expect("events").clone();
        events
            .iter()
            .map(|event| event["id"].as_str().expect("an id").to_owned())
            .collect::<Vec<_>>()
    };
    let list = |query: &str| host.admin().get(&format!("/events?{query}")).expect(200);
    wait_for("all events to be stored", 10, || (ids(&list("limit=100")).len() == 10).then_some(()));

    let listed = ids(&list(&format!("connection={}&kind=create-defect", one.id)));
    created.reverse();
    assert_eq!(listed, created, "the events are not listed newest first");
    assert_eq!(ids(&list("kind=no-connection")), [unknown]);
    assert_eq!(ids(&list("kind=kpis")).len(), 1);
    assert_eq!(ids(&list("outcome=created")).len(), 8);

    let mut paged = Vec::new();
    let mut query = format!("connection={}&kind=create-defect&limit=3", one.id);
    loop {
        let page = list(&query);
        paged.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("connection={}&kind=create-defect&limit=3&cursor={next}", one.id);
    }
    assert_eq!(paged, created);

    let since = host.event(&created[2])["received_at"].as_str().expect("a time").to_owned();
    let recent = ids(&list(&format!("connection={}&kind=create-defect&since={since}", one.id)));
    assert_eq!(recent, created[..3]);
    let old = ids(&list(&format!("connection={}&kind=create-defect&until={since}", one.id)));
    assert_eq!(old, created[3..]);
    for wrong in ["kind=nonsense", "since=yesterday", "limit=many", "connection=unknown"] {
        let answer = host.admin().get(&format!("/events?{wrong}"));
        assert!((400..500).contains(&answer.status), "{wrong}: {answer:?}");
    }
}

#[test]
fn an_event_shows_the_log_the_calls_and_the_usage_of_a_run() {
    let (host, connection) = Setup::new().start_with_guest("log-flood", json!({}));
    let answer = host.create(&connection, &failed_test());
    let event = host.event_of(&answer);
    let run = &event["runs"][0];
    assert_eq!(run["call"], "create");
    assert_eq!(run["connector_sha256"], Guest::named("log-flood").sha256());
    assert_eq!(run["connector_version"], "1.0.0");
    assert_eq!(run["log"][0]["level"], "info");
    assert_eq!(event["connection"], connection.id);
    for used in ["memory_bytes", "cpu_ms", "run_ms", "log_bytes"] {
        assert!(run["usage"][used].is_u64(), "{used}: {run}");
    }
    let defects = host.admin().get("/defects").expect(200);
    assert_eq!(defects["defects"][0]["id"], event["defect"], "{defects}");
}

#[test]
fn the_oldest_events_are_deleted_when_there_are_too_many() {
    let (host, connection) = Setup::new()
        .config("events_max = 5\nsweep_ms = 200")
        .start_with_guest("instant", json!({}));
    let mut created: Vec<_> =
        (0..20).map(|_| host.create(&connection, &failed_test()).event()).collect();
    // The server stores events in their order. So all earlier events are stored, too.
    host.event(&created[19]);
    let kept = wait_for("the old events to be deleted", 30, || {
        let page = host.admin().get("/events?limit=100").expect(200);
        let events = page["events"].as_array().expect("events").clone();
        (events.len() <= 5).then_some(events)
    });
    let kept: Vec<_> = kept.iter().filter_map(|event| event["id"].as_str()).collect();
    created.reverse();
    assert_eq!(kept, created[..5], "other events than the newest were kept");
    assert_eq!(host.admin().get(&format!("/events/{}", created[19])).status, 404);
}

/// The steps follow each other: the claim of the row, the instantiation, the guest with its
/// requests, and the storage of the outcome.
#[test]
fn an_event_shows_when_each_of_its_steps_began_and_ended() {
    let mut host = Setup::new().guests(["good"]).start();
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let connection = host.add_connection("qa", "good", json!({"url": tracker.url()}), json!({}));
    let test = failed_test();
    let event = host.event_of(&host.create(&connection, &test));
    let steps = event["steps"].as_array().expect("steps");
    let names: Vec<_> = steps.iter().map(|step| step["step"].clone()).collect();
    assert_eq!(names, ["claim", "store"], "{event}");
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number: {event}"));
    let run = &event["runs"][0];
    let times = ["requested_us", "started_us", "called_us", "ended_us"];
    let times = times.map(|name| number(&run["times"][name]));
    let [claim, store] = [0, 1].map(|i| (number(&steps[i]["at_us"]), number(&steps[i]["us"])));
    let moments =
        [&[claim.0, claim.0 + claim.1][..], &times, &[store.0, store.0 + store.1]].concat();
    assert!(moments.is_sorted(), "{moments:?}: {event}");
    // The duration of the event is rounded down to whole milliseconds.
    let event_us_max = (number(&event["ms"]) + 1) * 1_000;
    assert!(claim.1 > 0 && store.1 > 0 && times[2] > times[1], "{moments:?}: {event}");
    assert!(store.0 + store.1 <= event_us_max, "{moments:?} in {event_us_max}: {event}");
    let request = &run["calls"][0];
    let request_us = (number(&request["at_ms"]) + number(&request["ms"])) * 1_000;
    assert!(times[1] + request_us <= times[3], "{event}");
    assert_eq!(number(&run["usage"]["run_ms"]), (times[3] - times[1]) / 1_000, "{event}");

    let id = event["id"].as_str().expect("an id");
    let (succeeded, text) = host.run_cli(&["events", "show", id]);
    let parts =
        ["timeline", " claim", " instantiate for create", " guest create", " POST http", " store"];
    let positions: Vec<_> = parts.iter().map(|part| text.find(part)).collect();
    assert!(succeeded && positions.is_sorted() && positions[0].is_some(), "{positions:?}: {text}");

    // After the restart, the defect is not in the cache.
    host.restart();
    let repeat = host.event_of(&host.create(&connection, &test));
    assert_eq!(repeat["outcome"], "repeated");
    assert_eq!((&repeat["steps"][0]["step"], &repeat["runs"]), (&json!("claim"), &json!([])));
}

/// Waits for `count` events of this kind and outcome. Returns the names of the steps of each event.
fn steps_of(host: &TestHost, kind: &str, outcome: &str, count: usize) -> Vec<Vec<Value>> {
    let path = format!("/events?kind={kind}&outcome={outcome}");
    let events = wait_for("the events", 60, || {
        let listed = host.admin().get(&path).expect(200);
        let events = listed["events"].as_array().cloned().expect("a list");
        (events.len() == count).then_some(events)
    });
    let names = |event: &Value| {
        let event = host.event(event["id"].as_str().expect("an id"));
        let steps = event["steps"].as_array().cloned().unwrap_or_default();
        steps.iter().map(|step| step["step"].clone()).collect()
    };
    events.iter().map(names).collect()
}

const COMMENTS: usize = 6;
const SHORT_WAITS: &str = "lease_ms = 1500\nsweep_ms = 200\n[create]\nin_doubt_s = 1\n[limits]\n\
                           run_ms = 2000\ncreate_answer_ms = 1000";

#[test]
fn the_event_of_a_search_in_the_background_shows_the_steps_claim_and_store() {
    let tracker = ScriptedServer::start(|exchange| match exchange.request.is_post() {
        true => Reply::reset(),
        false => Reply::new(500, ""),
    });
    let setup = Setup::new().config(SHORT_WAITS);
    let (host, connection) = setup.start_with_guest("good", json!({"url": tracker.url()}));
    host.create(&connection, &failed_test()).assert_status(503);
    tracker.set_script(|_| Reply::json(200, r#"{"issues":[{"id":42}]}"#));
    assert_eq!(steps_of(&host, "sweep", "adopted", 1), [["claim", "store"]]);
}

#[test]
fn the_event_of_a_comment_shows_the_steps_claim_and_store() {
    let setup = Setup::new();
    let fixture = setup.start_with_redmine("redmine", &Guest::example("redmine"), json!({}));
    let edit = json!({"on_recurrence": "comment"});
    fixture.host.admin().json("PATCH", "/connections/qa", &edit).assert_status(200);
    let tests: Vec<_> = (0..COMMENTS).map(|_| failed_test()).collect();
    for test in &tests {
        fixture.create(test).assert_status(200);
        fixture.create(&same_test_case_failed_again(test)).assert_status(200);
    }
    let steps = steps_of(&fixture.host, "follow-up", "followed-up", COMMENTS);
    assert!(steps.iter().all(|steps| *steps == ["claim", "store"]), "{steps:?}");
}

/// If a connector declares its write as a read, the journal does not contain the write, and the
/// host cannot prevent a second defect. In this test, the guest `instant` returns a defect without
/// any request.
#[test]
fn a_defect_without_a_journaled_write_is_reported() {
    let host = Setup::new().guests(["instant", "good"]).start();
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let hidden_write = host.add_connection("hides", "instant", json!({}), json!({}));
    let journaled_write =
        host.add_connection("writes", "good", json!({"url": tracker.url()}), json!({}));
    let is_reported = |connection| {
        let answer = host.create(connection, &failed_test());
        answer.assert_status(200);
        let log = host.run_of(&answer)["log"].to_string();
        log.contains("journal")
    };
    assert!(is_reported(&hidden_write), "a hidden write is not reported");
    assert!(!is_reported(&journaled_write), "an honest connector is reported");
}
