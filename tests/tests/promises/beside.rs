//! A good connector beside a hostile one: it is asked again and again, must answer every event, and each
//! of its runs must have had its turn. Shared by the files that attack; holds no test of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jackfield_tests::{Connection, TestHost, failed_test, until};

/// Events of the good connector that are looked at afterwards.
const LOOKED_AT: usize = 50;

/// The good connector, being asked.
pub(crate) struct Beside {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<VecDeque<String>>,
}

impl Beside {
    pub(crate) fn start(host: &TestHost, connection: &Connection) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (client, path) = (host.anyone(), format!("{}/defects", connection.hook));
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
    pub(crate) fn end(self) -> VecDeque<String> {
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
    good: &Connection,
    what: &str,
    attack: impl FnOnce() -> T,
) -> T {
    let before = host.resident_bytes();
    let beside = Beside::start(host, good);
    let came = attack();
    let events = beside.end();
    let waited: u64 = events.iter().map(|event| waits_its_turn(host, event, 1)).sum();
    println!("{what}: the last {} good events waited {waited} ticks", events.len());
    until(&format!("{what}: resident memory to come back"), 30, || {
        (host.resident_bytes() <= before + before / 10).then_some(())
    });
    came
}

/// Each time that a good event's guest could go on, it did so at most one tick later for each busy
/// connector. Returns how many ticks it waited.
pub(crate) fn waits_its_turn(host: &TestHost, event: &str, busy: u64) -> u64 {
    let usage = host.event(event)["runs"][0]["usage"].clone();
    let of = |name: &str| usage[name].as_u64().expect("a number");
    let (waited, turns) = (of("waited_ticks"), of("turns"));
    assert!(waited <= busy * turns, "{waited} ticks for {turns} turns beside {busy}");
    waited
}
