//! A good connector beside a hostile one: it must answer every event, its runs must get their
//! share of the CPU, and the host's memory must come back. Used by the files that attack; it has
//! no test of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jackfield_tests::{Connection, Reply, ScriptedServer, Setup, TestHost, failed_test, wait_for};
use serde_json::json;

/// How many events of the good connector are checked after an attack.
const CHECKED_EVENTS: usize = 50;
/// The longest that an event of the good connector takes.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// The name of the good connector.
const GOOD: &str = "good";

/// Adds the good connector.
pub(crate) fn with_good(setup: Setup) -> Setup {
    setup.guests([GOOD])
}

/// A connection to the good connector, and its tracker.
pub(crate) struct Good {
    connection: Connection,
    _tracker: ScriptedServer,
}

impl Good {
    pub(crate) fn connect(host: &TestHost) -> Self {
        let tracker = ScriptedServer::start(|_| Reply::created(1));
        let connection = host.connect(GOOD, GOOD, json!({"url": tracker.url()}), json!({}));
        Self { connection, _tracker: tracker }
    }
}

/// A thread that sends one event after another to the good connector.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<VecDeque<String>>,
}

impl Load {
    fn start(host: &TestHost, good: &Good) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (client, path) = (host.anonymous(), good.connection.create_path());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&answered));
        let thread = std::thread::spawn(move || {
            let mut events = VecDeque::new();
            while !stopped.load(Ordering::SeqCst) {
                let started = Instant::now();
                let answer = client.json("POST", &path, &failed_test());
                answer.assert_status(200);
                let took = started.elapsed();
                assert!(took <= ANSWER_MAX, "an event of the good connector took {took:?}");
                events.push_back(answer.event());
                if events.len() > CHECKED_EVENTS {
                    events.pop_front();
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
            events
        });
        Self { stop, answered, thread }
    }

    /// Stops after at least three events, which all must have been answered. Returns the last
    /// events.
    fn stop(self) -> VecDeque<String> {
        wait_for("answers of the good connector", 30, || {
            (self.answered.load(Ordering::SeqCst) > 2 || self.thread.is_finished()).then_some(())
        });
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the good connector answered every event")
    }
}

/// Attacks while the good connector serves events. Run the attack once before: the memory that a
/// connector's first run maps stays mapped.
///
/// # Panics
/// If an event was not answered, a run waited too long, or resident memory did not come back.
pub(crate) fn assert_harmless<T>(
    host: &TestHost,
    good: &Good,
    what: &str,
    attack: impl FnOnce() -> T,
) -> T {
    let before = host.resident_bytes();
    let load = Load::start(host, good);
    let result = attack();
    let events = load.stop();
    let (waited, polls) = waited(host, &events);
    println!("{what}: the last {} events waited {waited} ticks in {polls} polls", events.len());
    assert!(
        polls > events.len() as u64,
        "a run that waits for its tracker is polled several times"
    );
    // A sum would hide one event that waited long behind many that did not wait.
    for event in &events {
        let (waited, polls) = self::waited(host, [event]);
        assert!(waited <= polls, "{what}: one event waited {waited} ticks in {polls} polls");
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    wait_for(&format!("{what}: resident memory to come back"), 60, || {
        let resident = host.resident_bytes();
        assert!(
            resident <= before + before / 10 || Instant::now() < deadline,
            "{what}: {resident} bytes are resident, {before} before"
        );
        (resident <= before + before / 10).then_some(())
    });
    result
}

/// How many ticks the runs of these events were ready and waited for the CPU, and how often they
/// were polled.
pub(crate) fn waited<'e>(
    host: &TestHost,
    events: impl IntoIterator<Item = &'e String>,
) -> (u64, u64) {
    let of = |event: &String| {
        let usage = host.event(event)["runs"][0]["usage"].clone();
        let number = |name: &str| usage[name].as_u64().expect("a number");
        (number("waited_ticks"), number("polls"))
    };
    let add = |(waited, polls), (w, p)| (waited + w, polls + p);
    events.into_iter().map(of).fold((0, 0), add)
}
