//! Measures how much memory a server uses for each connector, connection, client and run.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use jackfield_tests::{Guest, Reply, ScriptedServer, Setup, TestHost, failed_test};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::cold::LANGUAGES;
use crate::report::{Figure, Unit};
use crate::rounds::Effort;
use crate::servers::{add_connection, guest, with_versions};

const SUBJECT: &str = "memory";
/// Maximum number of idle clients from one address. More clients use other loopback addresses.
const IDLE_PER_ADDRESS: u32 = 100;
/// Number of runs that wait at the same time. A connection may have more runs, so none is refused.
const CONCURRENT_CALLS: usize = 16;

pub(crate) fn run(effort: Effort) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (language, name) in LANGUAGES {
        let count = if name == "instant" { effort.pick(100, 5) } else { effort.pick(4, 1) };
        figures.extend(measure_called_connectors(language, &guest(name), count));
    }
    figures.push(measure_stored_connection(effort.pick(10_000, 300)));
    figures.push(measure_idle_client(effort.pick(800, 200)));
    let examples = [("Rust", "redmine"), ("QuickJS", "javascript"), ("Python", "python")];
    figures.extend(examples.map(|(language, name)| measure_concurrent_call(language, name)));
    figures
}

/// Resident and anonymous memory, in KB.
#[derive(Clone, Copy)]
struct Memory {
    resident: f64,
    anonymous: f64,
}

impl Memory {
    fn measure(host: &TestHost) -> Self {
        let path = format!("/proc/{}/smaps_rollup", host.process_id());
        let text = std::fs::read_to_string(path).expect("the server runs");
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
            number.expect("a number of kB")
        };
        Self { resident: value("Rss:"), anonymous: value("Anonymous:") }
    }

    /// Returns the growth between `self` and `after`, divided by the number of things that were
    /// added.
    fn growth_per_thing(self, after: Self, count: u32) -> Self {
        let divide = |before, after| (after - before) / f64::from(count);
        let resident = divide(self.resident, after.resident);
        Self { resident, anonymous: divide(self.anonymous, after.anonymous) }
    }
}

fn kilobyte_figure(name: String, value: f64) -> Figure {
    Figure::once(SUBJECT, name, Unit::Kilobytes, value)
}

/// Measures the memory of each additional connector, loaded from the cache and called once.
fn measure_called_connectors(language: &str, guest: &Guest, more: u32) -> [Figure; 2] {
    let memory = |count: u32| {
        let (mut host, names) = with_versions(Setup::new(), guest, count);
        let connections: Vec<_> =
            names.iter().map(|name| add_connection(&host, name, name)).collect();
        host.stop();
        host.restart();
        for (name, connection) in names.iter().zip(&connections) {
            host.await_connector(name, "ready", None);
            host.create(connection, &failed_test()).assert_status(200);
        }
        Memory::measure(&host)
    };
    let each = memory(1).growth_per_thing(memory(more + 1), more);
    [
        kilobyte_figure(format!("resident per called connector, {language}"), each.resident),
        kilobyte_figure(format!("of it anonymous, {language}"), each.anonymous),
    ]
}

/// Measures the memory of each additional connection.
fn measure_stored_connection(more: u32) -> Figure {
    let memory = |count: u32| {
        let mut host = Setup::new().plugin("c", &guest("instant")).start();
        let connections: Vec<_> =
            (0..count).map(|n| add_connection(&host, &format!("c{n}"), "c")).collect();
        host.stop();
        host.restart();
        host.await_connector("c", "ready", None);
        for connection in &connections {
            host.create(connection, &failed_test()).assert_status(200);
        }
        Memory::measure(&host)
    };
    let each = memory(1).growth_per_thing(memory(more + 1), more);
    kilobyte_figure("resident per stored connection".to_owned(), each.resident)
}

/// Measures the memory of a client that sent one request and keeps its connection open.
fn measure_idle_client(count: u32) -> Figure {
    let host = Setup::new().start();
    let port = host.url().rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let server = SocketAddr::from(([127, 0, 0, 1], port.expect("a port")));
    let client = |number: u32| {
        let address = u8::try_from(2 + number / IDLE_PER_ADDRESS).expect("few addresses");
        let from = SocketAddr::from(([127, 0, 1, address], 0));
        let mut socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&from.into()).expect("an address of the loopback network");
        socket.connect(&server.into()).expect("the server accepts");
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").expect("the request is sent");
        let read = socket.read(&mut [0; 4096]).expect("an answer");
        assert!(read > 0, "the server closed the connection");
        socket
    };
    let first = client(0);
    let before = Memory::measure(&host);
    let clients: Vec<_> = (1..=count).map(client).collect();
    let each = before.growth_per_thing(Memory::measure(&host), count);
    drop((first, clients));
    kilobyte_figure("resident per idle client".to_owned(), each.resident)
}

/// Measures the memory of each run while several runs wait for their tracker.
fn measure_concurrent_call(language: &str, example: &str) -> Figure {
    let tracker = ScriptedServer::start(|_| Reply::json(201, REDMINE_ISSUE));
    let host = Setup::new().plugin("c", &Guest::example(example)).start();
    let settings = json!({"url": tracker.url(), "project": "qa"});
    let connection =
        host.add_connection("qa", "c", settings, json!({"api-key": "any-k3y-of-a-tracker"}));
    host.create(&connection, &failed_test()).assert_status(200);
    let before = Memory::measure(&host);
    let gate = tracker.hold_answers(|request| request.is_post());
    let clicks: Vec<_> = (0..CONCURRENT_CALLS)
        .map(|_| host.create_in_background(&connection, &failed_test()))
        .collect();
    gate.await_held(CONCURRENT_CALLS);
    let each = before.growth_per_thing(Memory::measure(&host), CONCURRENT_CALLS as u32);
    gate.open();
    for click in clicks {
        click.answer().assert_status(200);
    }
    kilobyte_figure(format!("resident per concurrent call, {language} (Redmine)"), each.resident)
}

/// Redmine's answer after it created an issue.
pub(crate) const REDMINE_ISSUE: &str = r#"{"issue":{"id":1,"subject":"s","description":"d",
    "status":{"id":1,"name":"New"},"priority":{"id":2,"name":"Normal"}}}"#;
