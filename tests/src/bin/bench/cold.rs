//! Measures the time from the installation of a connector's file to the end of its first event.
//! Also measures the time of a server's start.

use std::time::{Duration, Instant};

use jackfield_tests::{Connection, Guest, Setup, TestHost, failed_test, wait_for};

use crate::report::{Figure, Unit};
use crate::rounds::Effort;
use crate::servers::{add_connection, read_guest, start_with_versions};

const MEASUREMENT: &str = "cold";

/// The languages, each with the name of a guest. The guest answers without a request to a tracker.
pub(crate) const LANGUAGES: [(&str, &str); 4] = [
    ("small Rust", "instant"),
    ("QuickJS", "quickjs"),
    ("StarlingMonkey", "starlingmonkey"),
    ("Python", "python"),
];

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (language, name) in LANGUAGES {
        figures.extend(measure_reloads(language, &read_guest(name), effort));
    }
    let counts: &[u32] = if effort.is_quick { &[1, 5] } else { &[1, 50, 500] };
    figures.extend(counts.iter().flat_map(|count| measure_start(*count, effort)));
    figures
}

/// Measures versions that the server must compile, and then versions whose compiled code is cached.
fn measure_reloads(language: &str, guest: &Guest, effort: Effort) -> [Figure; 2] {
    let host = Setup::new().plugin("c", guest).start();
    let connection = add_connection(&host, "qa", "c");
    let server = ReloadingServer { host, connection };
    let versions = effort.pick(10, 2);
    let measure_versions = |file_kind: &str| {
        let replace =
            |number| server.install_and_create(&guest.clone().with_custom_section(number));
        let times = (1..=versions).map(replace).map(to_milliseconds).collect();
        let name = format!("{file_kind} file to first event, {language}");
        Figure::from_rounds(MEASUREMENT, name, Unit::Milliseconds, times)
    };
    [measure_versions("new"), measure_versions("cached")]
}

fn to_milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A server whose connector is replaced repeatedly, and a connection of this connector.
struct ReloadingServer {
    host: TestHost,
    connection: Connection,
}

impl ReloadingServer {
    /// Installs a version of the connector, and returns the time until the end of its first event.
    fn install_and_create(&self, version: &Guest) -> Duration {
        let (admin, sha256) = (self.host.admin(), version.sha256());
        self.host.install("c", version);
        let installed_at = Instant::now();
        while admin.get("/connectors/c").json()["sha256"] != *sha256 {
            assert!(
                installed_at.elapsed() < Duration::from_secs(120),
                "the server does not use the new version after 120 s"
            );
        }
        self.host.create(&self.connection, &failed_test()).assert_status(200);
        installed_at.elapsed()
    }
}

/// Starts a server with `count` connectors whose compiled code is cached. Measures the time until
/// all connectors are ready, and the server's memory then.
fn measure_start(count: u32, effort: Effort) -> Vec<Figure> {
    let (mut host, _) = start_with_versions(Setup::new(), &read_guest("instant"), count);
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
        times.push(to_milliseconds(start.elapsed()));
    }
    let kilobytes = host.resident_bytes() as f64 / 1024.0;
    let name = format!("start with {count} cached connectors");
    vec![
        Figure::from_rounds(MEASUREMENT, name.clone(), Unit::Milliseconds, times),
        Figure::from_one_value(
            MEASUREMENT,
            format!("{name}: resident"),
            Unit::Kilobytes,
            kilobytes,
        ),
    ]
}
