//! Measures how much memory a server needs for each connector, for each connection, for each idle
//! client, and for each run.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use jackfield_tests::{Guest, Reply, ScriptedServer, Setup, TestHost, failed_test};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::cold::LANGUAGES;
use crate::report::{Figure, Unit};
use crate::rounds::Effort;
use crate::servers::{add_connection, read_guest, start_with_versions};

const MEASUREMENT: &str = "memory";
/// Maximum number of idle clients that connect from one loopback address.
const IDLE_CLIENTS_PER_ADDRESS: u32 = 100;
/// Number of runs that wait for a tracker at the same time. By default, a connector may have more
/// concurrent runs, so the server refuses none of them.
const CONCURRENT_RUNS: usize = 16;

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (language, name) in LANGUAGES {
        let count = if name == "instant" { effort.pick(100, 5) } else { effort.pick(4, 1) };
        figures.extend(measure_called_connectors(language, &read_guest(name), count));
    }
    figures.push(measure_stored_connection(effort.pick(10_000, 300)));
    figures.push(measure_idle_client(effort.pick(800, 200)));
    let examples = [("Rust", "redmine"), ("QuickJS", "javascript"), ("Python", "python")];
    figures.extend(examples.map(|(language, name)| measure_concurrent_run(language, name)));
    figures
}

#[derive(Clone, Copy)]
struct ProcessMemory {
    resident_kb: f64,
    anonymous_kb: f64,
}

impl ProcessMemory {
    fn measure(host: &TestHost) -> Self {
        let path = format!("/proc/{}/smaps_rollup", host.process_id());
        let text = std::fs::read_to_string(path).expect("the server runs");
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
            number.expect("a number of kB")
        };
        Self { resident_kb: value("Rss:"), anonymous_kb: value("Anonymous:") }
    }

    /// Returns the growth for each added connector, connection, client or run. `after` was measured
    /// after `count` of them were added.
    fn growth_per_thing(self, after: Self, count: u32) -> Self {
        let divide = |before, after| (after - before) / f64::from(count);
        let resident_kb = divide(self.resident_kb, after.resident_kb);
        Self { resident_kb, anonymous_kb: divide(self.anonymous_kb, after.anonymous_kb) }
    }
}

fn kilobyte_figure(name: String, value: f64) -> Figure {
    Figure::from_one_value(MEASUREMENT, name, Unit::Kilobytes, value)
}

/// Measures how much memory each of `added` additional connectors needs. Each connector is loaded
/// from the cache and called once.
fn measure_called_connectors(language: &str, guest: &Guest, added: u32) -> [Figure; 2] {
    let memory = |count: u32| {
        let (mut host, names) = start_with_versions(Setup::new(), guest, count);
        let connections: Vec<_> =
            names.iter().map(|name| add_connection(&host, name, name)).collect();
        host.stop();
        host.restart();
        for (name, connection) in names.iter().zip(&connections) {
            host.await_connector(name, "ready", None);
            host.create(connection, &failed_test()).assert_status(200);
        }
        ProcessMemory::measure(&host)
    };
    let growth = memory(1).growth_per_thing(memory(added + 1), added);
    [
        kilobyte_figure(format!("resident per called connector, {language}"), growth.resident_kb),
        kilobyte_figure(format!("of it anonymous, {language}"), growth.anonymous_kb),
    ]
}

/// Measures how much memory each of `added` additional connections needs. One create is sent to
/// each connection before the measurement.
fn measure_stored_connection(added: u32) -> Figure {
    let memory = |count: u32| {
        let mut host = Setup::new().plugin("c", &read_guest("instant")).start();
        let connections: Vec<_> =
            (0..count).map(|n| add_connection(&host, &format!("c{n}"), "c")).collect();
        host.stop();
        host.restart();
        host.await_connector("c", "ready", None);
        for connection in &connections {
            host.create(connection, &failed_test()).assert_status(200);
        }
        ProcessMemory::measure(&host)
    };
    let growth = memory(1).growth_per_thing(memory(added + 1), added);
    kilobyte_figure("resident per stored connection".to_owned(), growth.resident_kb)
}

/// Measures how much memory each of `count` clients needs. A client has sent one request, and keeps
/// its TCP connection open.
fn measure_idle_client(count: u32) -> Figure {
    let host = Setup::new().start();
    let port = host.url().rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let server = SocketAddr::from(([127, 0, 0, 1], port.expect("a port")));
    let client = |number: u32| {
        let address = u8::try_from(2 + number / IDLE_CLIENTS_PER_ADDRESS).expect("few addresses");
        let from = SocketAddr::from(([127, 0, 1, address], 0));
        let mut socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&from.into()).expect("an address of the loopback network");
        socket.connect(&server.into()).expect("the server accepts");
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").expect("the request is sent");
        let read = socket.read(&mut [0; 4096]).expect("an answer");
        assert!(read > 0, "the server closed the TCP connection");
        socket
    };
    let first = client(0);
    let before = ProcessMemory::measure(&host);
    let clients: Vec<_> = (1..=count).map(client).collect();
    let growth = before.growth_per_thing(ProcessMemory::measure(&host), count);
    drop((first, clients));
    kilobyte_figure("resident per idle client".to_owned(), growth.resident_kb)
}

/// Measures how much memory each run needs while several runs wait for their tracker.
fn measure_concurrent_run(language: &str, example: &str) -> Figure {
    let tracker = ScriptedServer::start(|_| Reply::json(201, REDMINE_ISSUE_ANSWER));
    let host = Setup::new().plugin("c", &Guest::example(example)).start();
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let connection =
        host.add_connection("qa", "c", settings, json!({"api-key": "any-k3y-of-a-tracker"}));
    host.create(&connection, &failed_test()).assert_status(200);
    let before = ProcessMemory::measure(&host);
    let gate = tracker.hold_answers(|request| request.is_post());
    let clicks: Vec<_> = (0..CONCURRENT_RUNS)
        .map(|_| host.create_in_background(&connection, &failed_test()))
        .collect();
    gate.await_held(CONCURRENT_RUNS);
    let growth = before.growth_per_thing(ProcessMemory::measure(&host), CONCURRENT_RUNS as u32);
    gate.open();
    for click in clicks {
        click.answer().assert_status(200);
    }
    kilobyte_figure(
        format!("resident per concurrent call, {language} (Redmine)"),
        growth.resident_kb,
    )
}

/// The body of Redmine's answer to a request that created an issue.
pub(crate) const REDMINE_ISSUE_ANSWER: &str = r#"{"issue":{"id":1,"subject":"s","description":"d",
    "status":{"id":1,"name":"New"},"priority":{"id":2,"name":"Normal"}}}"#;
