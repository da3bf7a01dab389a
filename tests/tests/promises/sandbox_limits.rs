//! Tests the limits of a sandbox. A limit ends a hostile run, and the answer names this limit. A
//! good connector that runs at the same time is not affected.

use jackfield_tests::{
    Answer, Click, Connection, Guest, Reply, ScriptedServer, Setup, TestHost, failed_test, wait_for,
};
use serde_json::json;

use crate::good_neighbour::{
    GoodConnector, assert_attack_is_harmless, waited_ticks_and_polls, with_good_connector,
};

/// Guests that exceed a limit while they run, and the name of the limit in the problem's detail.
const HOSTILE_RUNS: [(&str, &str); 5] = [
    ("spin", "limits.cpu_ms"),
    ("spin-host-call", "limits.cpu_ms"),
    ("memory-bomb", "limits.memory_bytes"),
    ("deep-recursion", "stack"),
    ("handle-flood", "limits.handles"),
];

/// Guests that become `broken` when they are loaded, and a part of the reason.
const HOSTILE_AT_LOAD: [(&str, &str); 4] = [
    ("describe-spins", "cpu_ms"),
    ("describe-huge", "manifest"),
    ("describe-explodes", "schema"),
    ("not-a-schema", "schema"),
];

/// Core modules that a good guest instantiates, how many times it does so, and a part of the reason
/// why the component becomes `broken`.
const HOSTILE_MODULES: [(&str, u32, &str); 4] = [
    ("many-memories", 200, "memories; a component may have at most"),
    ("table-bomb", 1, "table"),
    ("start-traps", 1, "trap"),
    ("start-spins", 1, "cpu_ms"),
];

fn add_connection(host: &TestHost, name: &str) -> Connection {
    host.add_connection(name, name, json!({}), json!({}))
}

#[test]
fn a_hostile_run_ends_by_a_named_limit_and_harms_no_other_connector() {
    let host = with_good_connector(Setup::new()).guests(HOSTILE_RUNS.map(|(name, _)| name)).start();
    let good = GoodConnector::add_to(&host);
    for (name, limit) in HOSTILE_RUNS {
        let connection = add_connection(&host, name);
        let attack = || {
            let answer = host.create(&connection, &failed_test());
            let detail = answer.problem(502, "connector-fault");
            assert!(detail.contains(limit), "{name}: {detail}");
            answer
        };
        let usage = host.run_of(&attack())["usage"].clone();
        assert!(usage["memory_bytes"].as_u64().is_some(), "{name}: {usage}");
        assert_attack_is_harmless(&host, &good, name, || {
            attack();
            attack();
        });
    }
}

#[test]
fn a_file_that_is_hostile_when_it_is_loaded_is_broken_with_the_reason() {
    let host = with_good_connector(Setup::new()).start();
    let good = GoodConnector::add_to(&host);
    let hostile_modules = HOSTILE_MODULES.iter().map(|(module, count, expected_reason)| {
        (*module, Guest::named("instant").with_core_module(module, *count), *expected_reason)
    });
    let hostile_guests = HOSTILE_AT_LOAD
        .iter()
        .map(|(name, expected_reason)| (*name, Guest::named(name), *expected_reason));
    // The first load of a broken file maps memory that stays mapped, so it happens before the
    // measurement.
    host.install("warm-up", &Guest::named(HOSTILE_AT_LOAD[0].0));
    host.await_connector("warm-up", "broken", None);
    for (name, guest, expected_reason) in hostile_guests.chain(hostile_modules) {
        assert_attack_is_harmless(&host, &good, name, || {
            host.install(name, &guest);
            let connector = host.await_connector(name, "broken", None);
            let reason = connector["error"].as_str().unwrap_or_default().to_lowercase();
            assert!(reason.contains(expected_reason), "{name}: {reason}");
            assert!(reason.len() < 2_000, "{name}: the reason is too long");
        });
    }
    assert_eq!(host.children(), 0, "a compiler process still runs");
}

/// If more runs are requested at once than the server's pool of guest memories has room for, some
/// of the runs wait.
#[test]
fn many_runs_at_once_of_a_component_with_twenty_memories_succeed() {
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let gate = tracker.hold_requests(|_| true);
    let guest = Guest::named("good").with_core_module("many-memories", 20);
    let host = Setup::new().config("[limits]\nconcurrent_runs = 100").plugin("few", &guest).start();
    let connection = host.add_connection("few", "few", json!({"url": tracker.url()}), json!({}));
    let clicks: Vec<_> =
        (0..60).map(|_| host.create_in_background(&connection, &failed_test())).collect();
    gate.await_held(20);
    gate.open();
    for click in clicks {
        click.answer().assert_status(200);
    }
}

#[test]
fn log_and_stdout_floods_are_truncated_and_escaped() {
    let names = ["log-flood", "stdout-flood"];
    let host = with_good_connector(Setup::new()).guests(names).start();
    let good = GoodConnector::add_to(&host);
    for name in names {
        let connection = add_connection(&host, name);
        host.create(&connection, &failed_test());
        let answer = assert_attack_is_harmless(&host, &good, name, || {
            host.create(&connection, &failed_test())
        });
        let run = host.run_of(&answer);
        let log = run["log"].as_array().expect("a log").clone();
        let text: String = log.iter().filter_map(|line| line["message"].as_str()).collect();
        assert!(text.len() > 10_000, "{name}: only {} bytes are stored", text.len());
        assert!(text.len() <= 80_000, "{name}: {} bytes are stored", text.len());
        assert!(
            !text.chars().any(|character| character.is_control() && character != '\t'),
            "{name}: the log contains control characters"
        );
        assert!(text.contains("limits.log_bytes"), "{name}: the log does not name the limit");
    }
    let output = host.output();
    assert!(
        !output.contains('\u{1b}') && !output.contains('\u{9b}'),
        "the server's log contains terminal escapes"
    );
    assert!(
        !output.lines().any(|line| line.starts_with("ERROR forged")),
        "a guest forged a log line"
    );
}

/// Guests that send hostile requests, a part of the reason of the refusal, and how many of the
/// requests reach the tracker.
const HOSTILE_REQUESTS: [(&str, &str, usize); 4] = [
    ("endless-body", "limits.request_body_bytes", 0),
    ("many-bodies", "limits.memory_bytes", 0),
    ("header-flood", "header", 0),
    ("many-calls", "30 calls, then", 30),
];

#[test]
fn endless_and_oversized_requests_are_stopped() {
    let names = HOSTILE_REQUESTS.map(|(name, ..)| name);
    // This memory limit is a quarter of the default. With the default, the run could reach its CPU
    // limit before its bodies reach the memory limit.
    let limits = "[connectors.many-bodies.limits]\nmemory_bytes = 33554432";
    let setup = with_good_connector(Setup::new().config(limits));
    let host = setup.guests(names).guests(["giant-random"]).start();
    let good = GoodConnector::add_to(&host);
    for (name, reason, expected_requests) in HOSTILE_REQUESTS {
        let tracker = ScriptedServer::start(|_| Reply::new(200, "ok"));
        let connection = host.add_connection(name, name, json!({"url": tracker.url()}), json!({}));
        host.create(&connection, &failed_test());
        let requests_before = tracker.requests().len();
        let answer = assert_attack_is_harmless(&host, &good, name, || {
            host.create(&connection, &failed_test())
        });
        let run = host.run_of(&answer);
        let calls = run["calls"].as_array().expect("calls");
        let mut errors = calls.iter().filter_map(|call| call["error"].as_str());
        let is_named = answer.body.contains(reason) || errors.any(|error| error.contains(reason));
        assert!(is_named, "{name}: {answer:?} {run}");
        assert_eq!(tracker.requests().len() - requests_before, expected_requests, "{name}");
    }
    let connection = add_connection(&host, "giant-random");
    let attack = || host.create(&connection, &failed_test());
    attack();
    let answer = assert_attack_is_harmless(&host, &good, "giant-random", attack);
    let detail = answer.problem(502, "connector-fault");
    assert!(detail.contains("1048576"), "{detail}");
}

/// The tracker answers only after three times the CPU limit.
#[test]
fn a_run_that_waits_is_charged_no_cpu_time() {
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let gate = tracker.hold_requests(|_| true);
    let (host, connection) = Setup::new()
        .config("[limits]\ncpu_ms = 200")
        .start_with_guest("good", json!({"url": tracker.url()}));
    let click = host.create_in_background(&connection, &failed_test());
    gate.await_held(1);
    std::thread::sleep(std::time::Duration::from_millis(600));
    gate.open();
    let answer = click.answer();
    answer.assert_status(200);
    let usage = host.run_of(&answer)["usage"].clone();
    assert!(usage["run_ms"].as_u64() >= Some(600), "{usage}");
    assert!(usage["cpu_ms"].as_u64() < Some(200), "{usage}");
}

/// Busy guests yield the CPU at each tick of the engine. Ticks are counted, because their length
/// varies.
#[test]
fn a_good_event_waits_at_most_one_tick_for_each_busy_connector() {
    const BUSY_GUESTS: u64 = 6;
    let names: Vec<_> = (0..BUSY_GUESTS).map(|n| format!("busy{n}")).collect();
    let setup = Setup::new()
        .config("[connectors.good.limits]\ncpu_ms = 1000\n[limits]\ncpu_ms = 3000")
        .guests(["good"]);
    let spin = Guest::named("spin");
    let host = names.iter().fold(setup, |setup, name| setup.plugin(name, &spin)).start();
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let good = host.add_connection("good", "good", json!({"url": tracker.url()}), json!({}));
    let busy: Vec<_> = names.iter().map(|name| add_connection(&host, name)).collect();
    let busy: Vec<_> = busy
        .iter()
        .map(|connection| host.create_in_background(connection, &failed_test()))
        .collect();
    let mut events = Vec::new();
    while !busy.iter().any(Click::is_finished) {
        let answer = host.create(&good, &failed_test());
        answer.assert_status(200);
        events.push(answer.event());
    }
    for click in busy {
        click.answer().assert_problem(502, "connector-fault");
    }
    assert!(events.len() > 10, "only {} events beside {BUSY_GUESTS} busy connectors", events.len());
    let (waited, polls) = waited_ticks_and_polls(&host, &events);
    println!("{} events waited {waited} ticks in {polls} polls beside {BUSY_GUESTS}", events.len());
    assert!(waited > 0, "no guest waited, so the cores were not busy");
    assert!(
        waited <= BUSY_GUESTS * polls,
        "waited {waited} ticks in {polls} polls beside {BUSY_GUESTS} busy connectors"
    );
}

/// The engine names only the instruction at which a guest trapped, so the problem also quotes what
/// the guest printed last.
#[test]
fn a_trap_is_explained_by_what_the_guest_printed_last() {
    let tracker =
        ScriptedServer::start(|_| Reply::new(200, "bad \u{1b}[2J top-s3cret|-of-the-te|st"));
    let host = Setup::new().guests(["traps-on-demand"]).start();
    let (settings, secrets) =
        (json!({"url": tracker.url()}), json!({"key": "top-s3cret-of-the-test"}));
    let connection = host.add_connection("qa", "traps-on-demand", settings, secrets);
    let answer = host.create(&connection, &failed_test());
    let detail = answer.problem(502, "connector-fault");
    for expected in ["unreachable", "panicked at ", "traps-on-demand.rs:", "the tracker said bad"] {
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
    assert!(detail.contains("[secret]") && detail.contains("\\u{1b}"), "{detail}");
    let event = host.event_of(&answer);
    let shown = host.admin().get("/connections/qa").expect(200);
    for shown_detail in
        [event["detail"].clone(), event["runs"][0]["detail"].clone(), shown["last_error"].clone()]
    {
        assert!(shown_detail.to_string().contains("panicked at "), "{shown_detail}");
    }
    let (_, listed) = host.run_cli(&["events", "list"]);
    for text in [&listed, &event.to_string(), &host.output()] {
        assert!(!text.contains("top-s3cret"), "{text}");
    }
    assert!(listed.contains("panicked at "), "{listed}");
    assert!(host.output().contains("the tracker said bad"), "{}", host.output());

    let broken_guest = Guest::named("traps-on-demand").with_build(2);
    host.install("silent", &broken_guest);
    let error = host.await_connector("silent", "broken", None)["error"].to_string();
    let (checked, printed) = host.run_cli(&["check", &host.plugin("silent").display().to_string()]);
    assert!(!checked);
    for text in [&error, &printed, &host.output()] {
        assert!(text.contains("build 2 does not describe itself"), "{text}");
    }

    // Events show the query of a call, but not the credentials in it.
    let call = &event["runs"][0]["calls"][0];
    assert!(tracker.requests()[0].target.contains("key=top-s3cret-of-the-test"));
    assert_eq!(
        (&call["path"], &call["query"]),
        (&json!("/health"), &json!("subject=a%20b&sig=[secret]"))
    );
    let (_, shown) = host.run_cli(&["events", "show", &answer.event()]);
    let line = shown.lines().rfind(|line| line.contains("/health")).expect("the call");
    for expected in ["GET", "read", "200", "?subject=a%20b&sig=[secret]"] {
        assert!(line.contains(expected), "{expected}: {line}");
    }
}

#[test]
fn a_connection_that_fails_repeatedly_opens_its_circuit_breaker() {
    let tracker = ScriptedServer::start(|_| Reply::new(200, "bad"));
    let (host, connection) =
        Setup::new().start_with_guest("traps-on-demand", json!({"url": tracker.url()}));
    let mut faults = 0;
    let refused: Answer = wait_for("the circuit breaker to open", 60, || {
        let answer = host.create(&connection, &failed_test());
        assert!([502, 503].contains(&answer.status), "{answer:?}");
        faults += u32::from(answer.status == 502);
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(faults, 5, "the circuit breaker did not open after exactly 5 faults");
    let detail = refused.problem(503, "circuit-open");
    assert!(
        detail.contains("unreachable"),
        "the detail does not name the last fault, a trap: {detail}"
    );
    let seconds = refused.header("retry-after").and_then(|text| text.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=11).contains(&seconds)), "{refused:?}");
    let requests_before = tracker.requests().len();
    host.create(&connection, &failed_test()).assert_problem(503, "circuit-open");
    assert_eq!(
        tracker.requests().len(),
        requests_before,
        "a run reached the tracker while the circuit was open"
    );
    tracker.set_script(|_| Reply::new(200, "good"));
    wait_for("the circuit breaker to close by itself", 60, || {
        (host.create(&connection, &failed_test()).status == 200).then_some(())
    });
}

#[test]
fn a_run_that_sleeps_is_ended_after_run_ms() {
    let host = Setup::new().config("[limits]\nrun_ms = 1000").guests(["sleeps"]).start();
    let answer = host.create(&add_connection(&host, "sleeps"), &failed_test());
    let detail = answer.problem(502, "connector-fault");
    assert!(detail.contains("limits.run_ms") && detail.contains("1000"), "{detail}");
}

#[test]
fn a_connector_never_has_more_runs_than_concurrent_runs_allows() {
    let config = "[limits]\nconcurrent_runs = 2\n[connectors.good.limits]\ncreate_answer_ms = 3000";
    let host = Setup::new().config(config).guests(["good", "instant"]).start();
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let gate = tracker.hold_requests(|_| true);
    let slow = host.add_connection("slow", "good", json!({"url": tracker.url()}), json!({}));
    let other = add_connection(&host, "instant");
    let clicks: Vec<_> = (0..2).map(|_| host.create_in_background(&slow, &failed_test())).collect();
    gate.await_held(2);
    let answer = host.create(&slow, &failed_test());
    answer.assert_problem(503, "overloaded");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(tracker.requests().len(), 2, "a third run reached the tracker");
    host.create(&other, &failed_test()).assert_status(200);
    gate.open();
    for click in clicks {
        let _ = click.answer();
    }
    host.create(&slow, &failed_test()).assert_status(200);
}
