//! Everything is explained: one event id ties webhook, guest log, outbound calls, defect and answer
//! together; requests that reached no connection are listed too; pages go on where they ended.

use jackfield_tests::{Guest, Peer, Reply, Response, Setup, failed_test, until};
use serde_json::{Value, json};

#[test]
fn events_are_listed_filtered_and_paged() {
    let host = Setup::new().plugin("instant", &Guest::named("instant")).start();
    let one = host.connect("one", "instant", json!({}), json!({}));
    let other = host.connect("other", "instant", json!({}), json!({}));
    let mut made: Vec<_> = (0..7).map(|_| host.create(&one, &failed_test()).event()).collect();
    let _ = host.create(&other, &failed_test()).expect(200);
    let _ = host.kpis(&one, "1").expect(200);
    let nobody = host.anyone().json("POST", "/hooks/nobody", &failed_test()).event();
    let ids = |page: &Value| {
        let events = page["events"].as_array().expect("events").clone();
        events
            .iter()
            .map(|event| event["id"].as_str().expect("an id").to_owned())
            .collect::<Vec<_>>()
    };
    let list = |query: &str| host.admin().get(&format!("/events?{query}")).expect(200);
    until("all events to be kept", 10, || (ids(&list("limit=100")).len() == 10).then_some(()));

    let kept = ids(&list(&format!("connection={}&kind=create-defect", one.id)));
    made.reverse();
    assert_eq!(kept, made, "newest first");
    assert_eq!(ids(&list("kind=no-connection")), [nobody]);
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
    assert_eq!(paged, made);

    let instant =
        |id: &String| host.event(id)["received_at"].as_str().expect("an instant").to_owned();
    let since = instant(&made[2]);
    let recent = ids(&list(&format!("connection={}&kind=create-defect&since={since}", one.id)));
    assert_eq!(recent, made[..3]);
    let old = ids(&list(&format!("connection={}&kind=create-defect&until={since}", one.id)));
    assert_eq!(old, made[3..]);
    for wrong in ["kind=nonsense", "since=yesterday", "limit=many", "connection=nobody"] {
        let answer = host.admin().get(&format!("/events?{wrong}"));
        assert!((400..500).contains(&answer.status), "{wrong}: {answer:?}");
    }
}

#[test]
fn an_event_shows_what_the_guest_said_and_sent_and_used() {
    let host = Setup::new().plugin("log-flood", &Guest::named("log-flood")).start();
    let connection = host.connect("qa", "log-flood", json!({}), json!({}));
    let answer = host.create(&connection, &failed_test());
    let event = host.event(&answer.event());
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
fn events_go_when_they_are_too_many() {
    let host = Setup::new()
        .config("events_max = 5\nsweep_ms = 200")
        .plugin("instant", &Guest::named("instant"))
        .start();
    let connection = host.connect("qa", "instant", json!({}), json!({}));
    let mut made: Vec<_> =
        (0..20).map(|_| host.create(&connection, &failed_test()).event()).collect();
    let _ = host.event(&made[19]); // kept, and with it all before it
    let kept = until("the old events to go", 30, || {
        let page = host.admin().get("/events?limit=100").expect(200);
        let events = page["events"].as_array().expect("events").clone();
        (events.len() <= 5).then_some(events)
    });
    let kept: Vec<_> = kept.iter().filter_map(|event| event["id"].as_str()).collect();
    made.reverse();
    assert_eq!(kept, made[..5], "the newest stay");
    assert_eq!(host.admin().get(&format!("/events/{}", made[19])).status, 404);
}

/// The host cannot keep its promise for a connector that hides its write, so it says so.
#[test]
fn a_defect_made_without_a_journalled_write_is_reported() {
    let host = Setup::new()
        .plugin("instant", &Guest::named("instant"))
        .plugin("good", &Guest::named("good"))
        .start();
    let tracker = Peer::start(|_| Reply::Answer(Response::json(201, r#"{"issue":{"id":1}}"#)));
    let hides = host.connect("hides", "instant", json!({}), json!({}));
    let writes = host.connect("writes", "good", json!({"url": tracker.url()}), json!({}));
    let reported = |connection| {
        let answer = host.create(connection, &failed_test());
        let _ = answer.expect(200);
        let log = host.event(&answer.event())["runs"][0]["log"].to_string();
        log.contains("without a journalled write")
    };
    assert!(reported(&hides), "nobody would know");
    assert!(!reported(&writes), "an honest connector is not accused");
}
