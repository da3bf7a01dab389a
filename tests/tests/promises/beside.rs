//! A good connector beside a hostile one: it is asked again and again, must answer every event, and each
//! of its runs must have had its turns. Shared by the files that attack; holds no test of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jackfield_tests::{
    Connection, Guest, Peer, Reply, Response, Setup, TestHost, failed_test, until,
};
use serde_json::json;

/// Events of the good connector that are looked at afterwards.
const LOOKED_AT: usize = 50;
/// The good connector, by name.
const GOOD: &str = "good";

/// With the good connector in the folder.
pub(crate) fn with_good(setup: Setup) -> Setup {
    setup.plugin(GOOD, &Guest::named("good"))
}

/// The good connector's connection, and the tracker that each of its runs waits for.
pub(crate) struct Good {
    connection: Connection,
    _tracker: Peer,
}

impl Good {
    pub(crate) fn of(host: &TestHost) -> Self {
        let tracker = Peer::start(|_| Reply::Answer(Response::json(201, r#"{"issue":{"id":1}}"#)));
        let connection = host.connect(GOOD, GOOD, json!({"url": tracker.url()}), json!({}));
        Self { connection, _tracker: tracker }
    }
}

/// The good connector, being asked.
struct Beside {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<VecDeque<String>>,
}

impl Beside {
    fn start(host: &TestHost, good: &Good) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (client, path) = (host.anyone(), format!("{}/defects", good.connection.hook));
        let (until, count) = (Arc::clone(&stop), Arc::clone(&answered));
        let thread = std::thread::spawn(move || {
            let mut events = VecDeque::new();
            while !until.load(Ordering::SeqCst) {
                let answer = client.json("POST", &path, &failed_test());
                let _ = answer.expect(200);
                events.push_back(answer.event());
                if events.len() > LOOKED_AT {
                    events.pop_front();
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
            events
        });
        Self { stop, answered, thread }
    }

    /// Ends it; every event was answered, and there was more than one. Returns the last of them.
    fn end(self) -> VecDeque<String> {
        until("the good connector to answer", 30, || {
            (self.answered.load(Ordering::SeqCst) > 2 || self.thread.is_finished()).then_some(())
        });
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("every event of the good connector was answered")
    }
}

/// Attacks with the good connector beside it. Attack once before: what the first run of a connector
/// maps stays.
///
/// # Panics
/// A good event was not answered or waited too long, or resident memory did not come back.
pub(crate) fn harms_nobody<T>(
    host: &TestHost,
    good: &Good,
    what: &str,
    attack: impl FnOnce() -> T,
) -> T {
    let before = host.resident_bytes();
    let beside = Beside::start(host, good);
    let came = attack();
    let events = beside.end();
    let (waited, turns) = waited(host, &events);
    println!(
        "{what}: the last {} good events waited {waited} ticks in {turns} turns",
        events.len()
    );
    assert!(turns > events.len() as u64, "a run that waits for its tracker takes several turns");
    assert!(waited <= turns, "{what}: {waited} ticks waited in {turns} turns beside one");
    until(&format!("{what}: resident memory to come back"), 30, || {
        (host.resident_bytes() <= before + before / 10).then_some(())
    });
    came
}

/// Ticks that the runs of these events waited between being able to go on and going on, and the turns that
/// they took.
pub(crate) fn waited<'e>(
    host: &TestHost,
    events: impl IntoIterator<Item = &'e String>,
) -> (u64, u64) {
    let of = |event: &String| {
        let usage = host.event(event)["runs"][0]["usage"].clone();
        let number = |name: &str| usage[name].as_u64().expect("a number");
        (number("waited_ticks"), number("turns"))
    };
    let add = |(waited, turns), (w, t)| (waited + w, turns + t);
    events.into_iter().map(of).fold((0, 0), add)
}
