//! Measures the time from a connector's file to its first event, and the time of a server's start.

use std::time::{Duration, Instant};

use jackfield_tests::{Connection, Guest, Setup, TestHost, failed_test, wait_for};

use crate::report::{Figure, Unit};
use crate::rounds::Effort;
use crate::servers::{connect, guest, with_versions};

const SUBJECT: &str = "cold";

/// The languages, each with the name of a guest that answers without a tracker.
pub(crate) const LANGUAGES: [(&str, &str); 4] = [
    ("small Rust", "instant"),
    ("QuickJS", "quickjs"),
    ("StarlingMonkey", "starlingmonkey"),
    ("Python", "python"),
];

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (language, name) in LANGUAGES {
        figures.extend(reloads(language, &guest(name), effort));
    }
    let counts: &[u32] = if effort.quick { &[1, 5] } else { &[1, 50, 500] };
    figures.extend(counts.iter().flat_map(|count| start(*count, effort)));
    figures
}

/// Measures the time from the last byte of a file to its first event: once for versions that must
/// be compiled, and once for versions whose compiled code is cached.
fn reloads(language: &str, guest: &Guest, effort: Effort) -> [Figure; 2] {
    let host = Setup::new().plugin("c", guest).start();
    let connection = connect(&host, "qa", "c");
    let reloads = Reloads { host, connection };
    let versions = effort.pick(10, 2);
    let pass = |what: &str| {
        let replace = |number| reloads.replace(&guest.clone().with_custom_section(number));
        let times = (1..=versions).map(replace).map(milliseconds).collect();
        let name = format!("{what} file to first event, {language}");
        Figure::of(SUBJECT, name, Unit::Milliseconds, times)
    };
    [pass("new"), pass("cached")]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A server whose connector is replaced again and again, and a connection to the connector.
struct Reloads {
    host: TestHost,
    connection: Connection,
}

impl Reloads {
    /// Installs a version and returns the time until it has served an event.
    fn replace(&self, version: &Guest) -> Duration {
        let (admin, sha256) = (self.host.admin(), version.sha256());
        self.host.install("c", version);
        let written = Instant::now();
        while admin.get("/connectors/c").json()["sha256"] != *sha256 {
            assert!(written.elapsed() < Duration::from_secs(120), "the version does not go live");
        }
        self.host.create(&self.connection, &failed_test()).assert_status(200);
        written.elapsed()
    }
}

/// Measures a start until this many connectors are ready, and the server's memory then. Their
/// compiled code is cached.
fn start(count: u32, effort: Effort) -> Vec<Figure> {
    let (mut host, _) = with_versions(Setup::new(), &guest("instant"), count);
    let mut times = Vec::new();
    for _ in 0..effort.rounds {
        host.stop();
        let start = Instant::now();
        host.restart();
        wait_for("all connectors to be ready", 120, || {
            let listed = host.admin().get("/connectors").expect(200);
            let ready = listed["connectors"].as_array()?.iter().filter(|c| c["status"] == "ready");
            (ready.count() == count as usize).then_some(())
        });
        times.push(milliseconds(start.elapsed()));
    }
    let kilobytes = host.resident_bytes() as f64 / 1024.0;
    let name = format!("start with {count} cached connectors");
    vec![
        Figure::of(SUBJECT, name.clone(), Unit::Milliseconds, times),
        Figure::once(SUBJECT, format!("{name}: resident"), Unit::Kilobytes, kilobytes),
    ]
}
