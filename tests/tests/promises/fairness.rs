//! Fair shares of the server's resources: no connector and no connection can block another one.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jackfield_tests::{
    Click, Connection, Guest, Reply, Request, ScriptedServer, Setup, TestHost, failed_test,
    run_in_own_network, wait_for,
};
use serde_json::{Value, json};

use crate::calls::INTERFACES;

/// The longest time that an event of a good connection may take.
const GOOD_EVENT_TIME_MAX: Duration = Duration::from_secs(2);

/// Sends a Create Defect request to a good connection. At most one other waiting run may get a
/// permit before its run. Returns the usage of its run.
#[track_caller]
fn send_good_event(host: &TestHost, good: &Connection) -> Value {
    let started = Instant::now();
    let answer = host.create(good, &failed_test());
    let duration = started.elapsed();
    answer.assert_status(200);
    assert!(duration <= GOOD_EVENT_TIME_MAX, "a good event took {duration:?}");
    let usage = host.run_of(&answer)["usage"].clone();
    assert!(usage["permits_before"].as_u64().is_some_and(|permits| permits <= 1), "{usage}");
    usage
}

/// Starts a fake tracker that answers no request until the gate opens.
fn start_hanging_tracker() -> (ScriptedServer, jackfield_tests::Gate) {
    let tracker = ScriptedServer::start(|_| Reply::created(1));
    let gate = tracker.hold_requests(|_| true);
    (tracker, gate)
}

fn start_clicks(host: &TestHost, connection: &Connection, count: usize) -> Vec<Click> {
    (0..count).map(|_| host.create_in_background(connection, &failed_test())).collect()
}

/// A run gets its tables and memories from the engine's pool, and waits if it finds no free slot.
#[test]
fn heavy_components_with_a_hung_tracker_leave_pool_slots_to_others() {
    let (tracker, gate) = start_hanging_tracker();
    let healthy = ScriptedServer::start(|_| Reply::created(2));
    let core_modules = [("many-tables", 48), ("many-memories", 20)];
    let setup = Setup::new().guests(["good"]);
    let host = core_modules.iter().fold(setup, |setup, (module, times)| {
        setup.plugin(module, &Guest::named("good").with_core_module(module, *times))
    });
    let host = host.start();
    let good = host.add_connection("good", "good", json!({"url": healthy.url()}), json!({}));
    let mut hung = Vec::new();
    for (name, _) in core_modules {
        let connection = host.add_connection(name, name, json!({"url": tracker.url()}), json!({}));
        hung.extend(start_clicks(&host, &connection, 30));
    }
    // The share of each component is so large that at least 25 of the 60 runs get slots.
    gate.await_held(25);
    for _ in 0..5 {
        send_good_event(&host, &good);
    }
    gate.open();
    for click in hung {
        click.answer().assert_status(200);
    }
}

/// The tracker of one connection answers reads, but no writes.
#[test]
fn a_connection_with_a_hung_tracker_takes_no_runs_from_others_and_returns_counts() {
    let tracker = ScriptedServer::start(|_| Reply::new(200, "3"));
    let gate = tracker.hold_requests(Request::is_post);
    let healthy = ScriptedServer::start(|_| Reply::created(2));
    let host = Setup::new().config("concurrent_runs_host = 12\n[limits]\nconcurrent_runs = 4");
    let host = host.guests(["good", "instant"]).start();
    let add_connection =
        |name, url: String| host.add_connection(name, "good", json!({"url": url}), json!({}));
    let (hung, good) =
        (add_connection("hung", tracker.url()), add_connection("good", healthy.url()));
    let other = host.add_connection("other", "instant", json!({}), json!({}));
    let waiting = start_clicks(&host, &hung, 8);
    gate.await_held(3);
    for _ in 0..3 {
        send_good_event(&host, &good);
        send_good_event(&host, &other);
        let started = Instant::now();
        host.kpis(&hung, &failed_test()["testCaseId"].to_string()[1..9]).assert_status(200);
        assert!(started.elapsed() <= GOOD_EVENT_TIME_MAX);
    }
    assert!(tracker.posts() <= 4, "{} creates run at once", tracker.posts());
    gate.open();
    for click in waiting {
        let _ = click.answer();
    }
}

#[test]
fn a_connector_uses_at_most_half_of_the_runs_of_the_host() {
    let (tracker, gate) = start_hanging_tracker();
    let host = Setup::new().config("concurrent_runs_host = 4").guests(["good", "instant"]).start();
    let slow = host.add_connection("slow", "good", json!({"url": tracker.url()}), json!({}));
    let other = host.add_connection("other", "instant", json!({}), json!({}));
    let waiting = start_clicks(&host, &slow, 6);
    gate.await_held(2);
    for _ in 0..5 {
        send_good_event(&host, &other);
    }
    assert_eq!(
        tracker.requests().len(),
        2,
        "the connector does not have exactly half of the host's runs"
    );
    gate.open();
    for click in waiting {
        click.answer().assert_status(200);
    }
}

#[test]
fn a_good_event_is_answered_while_hostile_connections_are_busy() {
    /// The number of clicks on the connections `spin-…`, whose guests compute without end.
    const COMPUTING_RUNS: u64 = 40;
    let (tracker, gate) = start_hanging_tracker();
    let trap_tracker = ScriptedServer::start(|_| Reply::new(200, "bad"));
    let healthy = ScriptedServer::start(|_| Reply::created(2));
    let host = Setup::new()
        .config("[connectors.spin.limits]\ncpu_ms = 60000\ncreate_answer_ms = 60000")
        .guests(["good", "instant", "spin", "traps-on-demand"])
        .start();
    let add_connection = |name: &str, connector: &str, url: String| {
        host.add_connection(name, connector, json!({"url": url}), json!({}))
    };
    let good = add_connection("good", "good", healthy.url());
    let mut hostile = Vec::new();
    for number in 0..4 {
        let hung = add_connection(&format!("hung-{number}"), "good", tracker.url());
        hostile.extend(start_clicks(&host, &hung, 10));
        let spin = host.add_connection(&format!("spin-{number}"), "spin", json!({}), json!({}));
        hostile.extend(start_clicks(&host, &spin, 10));
    }
    let traps = add_connection("traps", "traps-on-demand", trap_tracker.url());
    hostile.extend(start_clicks(&host, &traps, 10));
    let flood = host.add_connection("flood", "instant", json!({}), json!({}));
    gate.await_held(20);
    let stop = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..4)
        .map(|_| {
            let (client, path, stop) = (host.anonymous(), flood.create_path(), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let _ = client.json("POST", &path, &failed_test());
                }
            })
        })
        .collect();
    for _ in 0..10 {
        let usage = send_good_event(&host, &good);
        let number = |name: &str| usage[name].as_u64().expect("a number");
        let (waited, polls) = (number("waited_ticks"), number("polls"));
        println!(
            "waited {waited} ticks in {polls} polls, beside {COMPUTING_RUNS} runs that compute"
        );
        assert!(waited <= polls * COMPUTING_RUNS, "{usage}");
    }
    stop.store(true, Ordering::SeqCst);
    for flood in floods {
        flood.join().expect("the flood ends");
    }
    gate.open();
    drop(host);
    for click in hostile {
        let _ = click.finish();
    }
}

/// The connector traps if the tracker answers `bad`.
#[test]
fn a_failed_test_that_makes_the_connector_trap_does_not_block_others() {
    let tracker = ScriptedServer::start(|_| Reply::new(200, "bad"));
    let (host, connection) =
        Setup::new().start_with_guest("traps-on-demand", json!({"url": tracker.url()}));
    let poisoned = failed_test();
    for _ in 0..8 {
        host.create(&connection, &poisoned).assert_problem(502, "connector-fault");
    }
    tracker.set_script(|_| Reply::new(200, "good"));
    host.create(&connection, &failed_test()).assert_status(200);
}

#[test]
fn a_hung_tracker_is_not_reported_as_a_connector_fault() {
    let tracker = ScriptedServer::start(|_| Reply::new(200, "7"));
    let config = "kpi_fresh_ms = 0\n[limits]\nrun_ms = 1000";
    let host = Setup::new().config(config).guests(["good", "calls"]).start();
    let connection = host.add_connection("qa", "good", json!({"url": tracker.url()}), json!({}));
    host.kpis(&connection, "1").assert_status(200);
    let gate = tracker.hold_requests(|_| true);
    for via in INTERFACES {
        let calls = crate::calls::add_connection(
            &host,
            &tracker,
            json!({"via": via, "method": "GET"}),
            json!({}),
        );
        let received = crate::calls::call(&host, &calls);
        assert_eq!(received.result, "interrupted", "{via}: {}", received.text);
    }
    for round in 0..6 {
        let event = host.kpis(&connection, "1").event();
        let run = wait_for("the refresh to end", 20, || {
            let run = host.event(&event)["runs"][0].clone();
            run.is_object().then_some(run)
        });
        assert_eq!(run["outcome"], "tracker-unavailable", "{round}: {run}");
    }
    let answer = host.kpis(&connection, "1");
    assert_eq!(answer.expect(200)["openDefects"], 7);
    assert_eq!(answer.header("jackfield-stale"), Some("true"));
    gate.open();
}

#[test]
fn a_hung_search_of_the_sweep_does_not_delay_the_deletion_of_old_events() {
    let tracker = ScriptedServer::start(|exchange| {
        if exchange.request.is_post() { Reply::reset() } else { Reply::new(200, "[]") }
    });
    let (host, connection) = Setup::new()
        .config("events_max = 5\nsweep_ms = 100\n[limits]\ncreate_answer_ms = 500")
        .start_with_guest("good", json!({"url": tracker.url()}));
    let answer = host.create(&connection, &failed_test());
    assert!([409, 503, 504].contains(&answer.status), "{answer:?}");
    let gate = tracker.hold_requests(|_| true);
    gate.await_held(1);
    for _ in 0..20 {
        host.anonymous().get(&connection.webhook_path).assert_status(200);
    }
    wait_for("old events to be deleted while the search hangs", 20, || {
        let events = host.admin().get("/events?limit=100").expect(200);
        events["events"].as_array().filter(|events| events.len() <= 5).map(|_| ())
    });
    gate.open();
}

#[test]
fn a_silent_name_server_delays_only_one_connection() {
    let name = "fairness::a_silent_name_server_delays_only_one_connection";
    let address = Ipv4Addr::new(5, 5, 5, 5);
    if !run_in_own_network(name, &[address]) {
        return;
    }
    let _silent = UdpSocket::bind("127.0.0.1:53").expect("the port of name servers");
    let host = Setup::new().guests(["good", "many-calls"]).start();
    let tracker = ScriptedServer::start_at(SocketAddr::from((address, 0)), |_| Reply::created(1));
    let good = host.add_connection("good", "good", json!({"url": tracker.url()}), json!({}));
    let silent = json!({"url": "http://tracker.test"});
    let silent = host.add_connection("silent", "many-calls", silent, json!({}));
    send_good_event(&host, &good);
    let before = host.threads();
    let hung = start_clicks(&host, &silent, 22);
    wait_for("a look-up to begin", 20, || (host.threads() > before).then_some(()));
    let mut threads_max = 0;
    for _ in 0..10 {
        send_good_event(&host, &good);
        threads_max = threads_max.max(host.threads());
    }
    assert!(
        threads_max <= before + 6,
        "there are {threads_max} threads; before the look-ups, there were {before}"
    );
    drop(host);
    for click in hung {
        let _ = click.finish();
    }
}
