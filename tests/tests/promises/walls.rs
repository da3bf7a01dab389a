//! The guest is nobody: whatever it does to itself, its run ends by a named limit, the next run is
//! served, a good connector beside it notices nothing, and the host's memory comes back.

use jackfield_tests::{
    Answer, Connection, Gate, Guest, Peer, Reply, Response, Setup, TestHost, failed_test, until,
};
use serde_json::json;

use crate::beside::{Good, harms_nobody, waited, with_good};

/// The guest, and what the problem's detail (a run) names.
const RUNS: [(&str, &str); 5] = [
    ("spin", "limits.cpu_ms"),
    ("spin-host-call", "limits.cpu_ms"),
    ("memory-bomb", "limits.memory_bytes"),
    ("deep-recursion", "stack"),
    ("handle-flood", "limits.handles"),
];

/// What never gets to serve, and what its reason names.
const LOADS: [(&str, &str); 4] = [
    ("describe-spins", "cpu_ms"),
    ("describe-huge", "manifest"),
    ("describe-explodes", "schema"),
    ("not-a-schema", "schema"),
];

/// Core modules that a good guest instantiates on its way up: how many of them, and the reason.
const STARTS: [(&str, u32, &str); 4] = [
    ("many-memories", 200, "memory count"),
    ("table-bomb", 1, "a table has at most"),
    ("start-traps", 1, "trap"),
    ("start-spins", 1, "cpu_ms"),
];

fn connect(host: &TestHost, name: &str) -> Connection {
    host.connect(name, name, json!({}), json!({}))
}

#[test]
fn a_hostile_run_ends_by_a_named_limit_and_harms_nobody() {
    let setup = with_good(Setup::new());
    let setup = RUNS.iter().fold(setup, |setup, (name, _)| setup.plugin(name, &Guest::named(name)));
    let host = setup.start();
    let good = Good::of(&host);
    for (name, limit) in RUNS {
        let connection = connect(&host, name);
        let attack = || {
            let answer = host.create(&connection, &failed_test());
            let detail = answer.problem(502);
            assert!(detail.contains(limit), "{name}: {detail}");
            answer
        };
        let used = host.event(&attack().event())["runs"][0]["usage"].clone();
        assert!(used["memory_bytes"].as_u64().is_some(), "{name}: {used}");
        harms_nobody(&host, &good, name, || {
            attack();
            attack();
        });
    }
}

#[test]
fn a_file_that_is_hostile_at_load_is_broken_with_the_reason() {
    let host = with_good(Setup::new()).start();
    let good = Good::of(&host);
    let starts = STARTS.iter().map(|(module, times, why)| {
        (*module, Guest::named("instant").with_core(module, *times), *why)
    });
    let loads = LOADS.iter().map(|(name, why)| (*name, Guest::named(name), *why));
    for (name, guest, why) in loads.chain(starts) {
        harms_nobody(&host, &good, name, || {
            host.install(name, &guest);
            let shown = host.await_connector(name, "broken", None);
            let reason = shown["error"].as_str().unwrap_or_default().to_lowercase();
            assert!(reason.contains(why), "{name}: {reason}");
            assert!(reason.len() < 2_000, "{name}: the reason itself is a flood");
        });
    }
    assert_eq!(host.children(), 0, "no compiling child is left");
}

/// Broken at load would not do here: the first instances of `describe` are within the limit.
#[test]
fn few_memories_are_within_the_limit() {
    let few = Guest::named("instant").with_core("many-memories", 20);
    let host = Setup::new().plugin("few", &few).start();
    let _ = host.create(&connect(&host, "few"), &failed_test()).expect(200);
}

#[test]
fn floods_are_cut_and_cleaned() {
    let names = ["log-flood", "stdout-flood"];
    let setup = with_good(Setup::new());
    let host = names.iter().fold(setup, |setup, name| setup.plugin(name, &Guest::named(name)));
    let host = host.start();
    let good = Good::of(&host);
    for name in names {
        let connection = connect(&host, name);
        let _ = host.create(&connection, &failed_test());
        let answer = harms_nobody(&host, &good, name, || host.create(&connection, &failed_test()));
        let event = host.event(&answer.event());
        let log = event["runs"][0]["log"].as_array().expect("a log").clone();
        let text: String = log.iter().filter_map(|line| line["message"].as_str()).collect();
        assert!(text.len() > 10_000, "{name}: what fits is kept");
        assert!(text.len() <= 80_000, "{name}: {} bytes are kept", text.len());
        assert!(!text.chars().any(|c| c.is_control() && c != '\t'), "{name}: control characters");
        assert!(text.contains("limits.log_bytes"), "{name}: the limit is named");
    }
    let output = host.output();
    assert!(!output.contains('\u{1b}') && !output.contains('\u{9b}'), "escapes reach the terminal");
    assert!(!output.lines().any(|line| line.starts_with("ERROR forged")), "a guest forges lines");
}

/// The guest, a word of what it is told, and how many requests of its run reach the tracker.
const REFUSED: [(&str, &[&str], usize); 4] = [
    ("endless-body", &["limits.request_body_bytes"], 0),
    ("many-bodies", &["limits.memory_bytes"], 0),
    ("header-flood", &["header"], 0),
    ("many-calls", &["30 calls, then"], 30),
];

#[test]
fn endless_and_giant_things_end() {
    let setup = with_good(Setup::new()).plugin("giant-random", &Guest::named("giant-random"));
    let setup =
        REFUSED.iter().fold(setup, |setup, (name, _, _)| setup.plugin(name, &Guest::named(name)));
    let host = setup.start();
    let good = Good::of(&host);
    for (name, words, reach) in REFUSED {
        let tracker = Peer::start(|_| Reply::Answer(Response::new(200, "ok")));
        let connection = host.connect(name, name, json!({"url": tracker.url()}), json!({}));
        let _ = host.create(&connection, &failed_test());
        let before = tracker.requests().len();
        let answer = harms_nobody(&host, &good, name, || host.create(&connection, &failed_test()));
        let calls = host.event(&answer.event())["runs"][0]["calls"].clone();
        let refused: Vec<_> =
            calls.as_array().expect("calls").iter().map(|call| &call["error"]).collect();
        let refused = format!("{refused:?}");
        let told = words.iter().any(|word| answer.body.contains(word) || refused.contains(word));
        let log = &host.event(&answer.event())["runs"][0]["log"];
        assert!(told, "{name}: {answer:?} {refused} {log}");
        assert_eq!(tracker.requests().len() - before, reach, "{name}");
    }
    let connection = connect(&host, "giant-random");
    let ask = || host.create(&connection, &failed_test());
    let _ = ask();
    let detail = harms_nobody(&host, &good, "giant-random", ask).problem(502);
    assert!(detail.contains("exceeds limit 1048576"), "{detail}");
}

/// Waiting costs nothing: the tracker takes three times the computing time, and the run succeeds.
#[test]
fn a_guest_that_waits_is_not_one_that_computes() {
    let host =
        Setup::new().config("[limits]\ncpu_ms = 200").plugin("good", &Guest::named("good")).start();
    let gate = Gate::default();
    let held = gate.clone();
    let tracker = Peer::start(move |_| {
        held.pass();
        Reply::Answer(Response::json(201, r#"{"issue":{"id":1}}"#))
    });
    let connection = host.connect("qa", "good", json!({"url": tracker.url()}), json!({}));
    let waiting = host.create_aside(&connection, &failed_test());
    gate.await_held(1);
    std::thread::sleep(std::time::Duration::from_millis(600)); // the wait is the thing under test
    gate.open();
    let answer = waiting.join().expect("no panic").expect("an answer");
    let usage = host.event(&answer.event())["runs"][0]["usage"].clone();
    let _ = answer.expect(200);
    assert!(
        usage["run_ms"].as_u64() >= Some(600) && usage["cpu_ms"].as_u64() < Some(200),
        "{usage}"
    );
}

/// Busy guests take turns. Counted in ticks, not in time: each time that the good guest can go on, it
/// goes on at most one tick later for each of them.
#[test]
fn a_good_event_waits_at_most_one_tick_for_each_busy_connector() {
    const BUSY: u64 = 6;
    let names: Vec<_> = (0..BUSY).map(|n| format!("busy{n}")).collect();
    let setup = Setup::new()
        .config("[connectors.good.limits]\ncpu_ms = 1000\n[limits]\ncpu_ms = 3000")
        .plugin("good", &Guest::named("good"));
    let spin = Guest::named("spin");
    let host = names.iter().fold(setup, |setup, name| setup.plugin(name, &spin)).start();
    let tracker = Peer::start(|_| Reply::Answer(Response::json(201, r#"{"issue":{"id":1}}"#)));
    let good = host.connect("good", "good", json!({"url": tracker.url()}), json!({}));
    let busy: Vec<_> = names.iter().map(|name| connect(&host, name)).collect();
    let busy: Vec<_> = busy.iter().map(|one| host.create_aside(one, &failed_test())).collect();
    let mut events = Vec::new();
    while !busy.iter().any(std::thread::JoinHandle::is_finished) {
        let answer = host.create(&good, &failed_test());
        let _ = answer.expect(200);
        events.push(answer.event());
    }
    for run in busy {
        let _ = run.join().expect("no panic").expect("an answer").problem(502);
    }
    assert!(events.len() > 10, "only {} events beside {BUSY} busy connectors", events.len());
    let (waited, turns) = waited(&host, &events);
    println!("{} good events waited {waited} ticks in {turns} turns beside {BUSY}", events.len());
    assert!(waited > 0, "with every core busy there is something to wait for");
    assert!(waited <= BUSY * turns, "{waited} ticks waited in {turns} turns beside {BUSY}");
}

#[test]
fn a_connection_that_fails_over_and_over_is_rested_and_tried_again() {
    let host = Setup::new().plugin("moody", &Guest::named("moody")).start();
    let tracker = Peer::start(|_| Reply::Answer(Response::new(200, "bad")));
    let connection = host.connect("qa", "moody", json!({"url": tracker.url()}), json!({}));
    let mut broken = 0;
    let resting: Answer = until("the breaker to open", 60, || {
        let answer = host.create(&connection, &failed_test());
        assert!([502, 503].contains(&answer.status), "{answer:?}");
        broken += u32::from(answer.status == 502);
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(broken, 5, "each of the first runs is told as what it is");
    let detail = resting.problem(503);
    assert!(detail.contains("unreachable"), "the reason is told: {detail}");
    let seconds = resting.header("retry-after").and_then(|text| text.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=11).contains(&seconds)), "{resting:?}");
    let asked = tracker.requests().len();
    let _ = host.create(&connection, &failed_test()).problem(503);
    assert_eq!(tracker.requests().len(), asked, "a resting connection runs nothing");
    tracker.script(|_| Reply::Answer(Response::new(200, "good")));
    until("the connection to be tried again by itself", 60, || {
        (host.create(&connection, &failed_test()).status == 200).then_some(())
    });
}

#[test]
fn a_run_ends_at_its_maximum_however_it_waits() {
    let host = Setup::new()
        .config("[limits]\nrun_ms = 1000")
        .plugin("calls", &Guest::named("calls"))
        .start();
    let gate = Gate::default();
    let held = gate.clone();
    let tracker = Peer::start(move |_| {
        held.pass();
        Reply::Answer(Response::new(200, "late"))
    });
    for via in ["http", "wasi:http"] {
        let settings = json!({"url": tracker.url(), "target": tracker.url() + "/x", "via": via});
        let connection = host.connect(via, "calls", settings, json!({}));
        let answer = host.create(&connection, &failed_test());
        let detail = answer.problem(502);
        assert!(detail.contains("limits.run_ms") && detail.contains("1000"), "{via}: {detail}");
    }
    gate.open();
}

#[test]
fn a_connector_has_its_share_of_the_runs_and_no_more() {
    let host = Setup::new()
        .config("[limits]\nconcurrent_runs = 2")
        .plugin("good", &Guest::named("good"))
        .plugin("instant", &Guest::named("instant"))
        .start();
    let gate = Gate::default();
    let held = gate.clone();
    let tracker = Peer::start(move |_| {
        held.pass();
        Reply::Answer(Response::json(201, r#"{"issue":{"id":1}}"#))
    });
    let slow = host.connect("slow", "good", json!({"url": tracker.url()}), json!({}));
    let beside = connect(&host, "instant");
    let waiting: Vec<_> = (0..2).map(|_| host.create_aside(&slow, &failed_test())).collect();
    gate.await_held(2);
    let answer = host.create(&slow, &failed_test());
    let _ = answer.problem(503);
    assert!(answer.header("retry-after").is_some());
    let _ = host.create(&beside, &failed_test()).expect(200);
    gate.open();
    for run in waiting {
        let _ = run.join().expect("no panic").expect("an answer").expect(200);
    }
}
