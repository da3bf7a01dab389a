//! Helpers for the tests of attacks: a good connector runs at the same time as a hostile connector.
//! This file contains no tests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jackfield_tests::{Connection, Reply, ScriptedServer, Setup, TestHost, failed_test, wait_for};
use serde_json::json;

/// The number of the good connector's last events whose waits for the CPU are checked after an
/// attack.
const CHECKED_EVENTS: usize = 50;
/// How many events fill the server's caches before its memory is first measured.
const WARM_UP_EVENTS: usize = 300;
/// The longest time that an event of the good connector may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The name of the good connector and of its connection.
const GOOD_NAME: &str = "good";

pub(crate) fn with_good_connector(setup: Setup) -> Setup {
    setup.guests([GOOD_NAME])
}

pub(crate) struct GoodConnector {
    connection: Connection,
    _tracker: ScriptedServer,
}

impl GoodConnector {
    /// Creates the connection, and sends the events that fill the caches of the server.
    pub(crate) fn add_to(host: &TestHost) -> Self {
        let tracker = ScriptedServer::start(|_| Reply::created(1));
        let connection =
            host.add_connection(GOOD_NAME, GOOD_NAME, json!({"url": tracker.url()}), json!({}));
        for _ in 0..WARM_UP_EVENTS {
            host.create(&connection, &failed_test()).assert_status(200);
        }
        Self { connection, _tracker: tracker }
    }
}

/// A thread that sends one Create Defect request after another to the good connector.
struct Load {
    should_stop: Arc<AtomicBool>,
    answer_count: Arc<AtomicUsize>,
    /// Returns the ids of the last events.
    thread: std::thread::JoinHandle<VecDeque<String>>,
}

impl Load {
    fn start(host: &TestHost, good: &GoodConnector) -> Self {
        let should_stop = Arc::new(AtomicBool::new(false));
        let answer_count = Arc::new(AtomicUsize::new(0));
        let (client, path) = (host.anonymous(), good.connection.create_path());
        let (stopped, count) = (Arc::clone(&should_stop), Arc::clone(&answer_count));
        let thread = std::thread::spawn(move || {
            let mut events = VecDeque::new();
            while !stopped.load(Ordering::SeqCst) {
                let started = Instant::now();
                let answer = client.json("POST", &path, &failed_test());
                answer.assert_status(200);
                let duration = started.elapsed();
                assert!(duration <= ANSWER_MAX, "an event of the good connector took {duration:?}");
                events.push_back(answer.event());
                if events.len() > CHECKED_EVENTS {
                    events.pop_front();
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
            events
        });
        Self { should_stop, answer_count, thread }
    }

    /// Waits for at least three answers. Fails if an event was not answered.
    fn stop(self) -> VecDeque<String> {
        wait_for("answers of the good connector", 30, || {
            (self.answer_count.load(Ordering::SeqCst) > 2 || self.thread.is_finished())
                .then_some(())
        });
        self.should_stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the good connector answered every event")
    }
}

/// Runs the attack while the good connector serves events. The caller must have run the same attack
/// once before, because the memory that a first attack maps stays mapped.
///
/// # Panics
/// If an event was not answered in time, a run waited too long for the CPU, the runs of the good
/// connector were polled too rarely, or resident memory was not released.
pub(crate) fn assert_attack_is_harmless<T>(
    host: &TestHost,
    good: &GoodConnector,
    what: &str,
    attack: impl FnOnce() -> T,
) -> T {
    let before = host.resident_bytes();
    let load = Load::start(host, good);
    let result = attack();
    let events = load.stop();
    let (waited, polls) = waited_ticks_and_polls(host, &events);
    println!("{what}: the last {} events waited {waited} ticks in {polls} polls", events.len());
    assert!(
        polls > events.len() as u64,
        "too few polls: a run that waits for its tracker is polled several times"
    );
    // Each event is checked alone, because in a sum many short waits would hide a long wait.
    for event in &events {
        let (waited, polls) = waited_ticks_and_polls(host, [event]);
        assert!(waited <= polls, "{what}: one event waited {waited} ticks in {polls} polls");
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    wait_for(&format!("{what}: resident memory to be released"), 60, || {
        let resident = host.resident_bytes();
        assert!(
            resident <= before + before / 10 || Instant::now() < deadline,
            "{what}: {resident} bytes are resident; before the attack, {before} bytes were"
        );
        (resident <= before + before / 10).then_some(())
    });
    result
}

/// Returns how many ticks of the engine the runs of these events waited for the CPU although they
/// were ready, and how often these runs were polled.
pub(crate) fn waited_ticks_and_polls<'e>(
    host: &TestHost,
    events: impl IntoIterator<Item = &'e String>,
) -> (u64, u64) {
    let usage_of = |event: &String| {
        let usage = host.event(event)["runs"][0]["usage"].clone();
        let number = |name: &str| usage[name].as_u64().expect("a number");
        (number("waited_ticks"), number("polls"))
    };
    let add =
        |(waited, polls), (more_waited, more_polls)| (waited + more_waited, polls + more_polls);
    events.into_iter().map(usage_of).fold((0, 0), add)
}
