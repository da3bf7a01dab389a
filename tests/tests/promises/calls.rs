//! The test guest `calls`. The settings of its connection describe one request, which the guest
//! sends through one of the two HTTP interfaces of a connector. This file contains no tests.

use std::sync::atomic::{AtomicU32, Ordering};

use jackfield_tests::{
    Answer, Connection, Exchange, Reply, ScriptedServer, Setup, TestHost, failed_test, merge,
};
use serde_json::{Value, json};

/// The two interfaces by which a connector sends requests.
pub(crate) const INTERFACES: [&str; 2] = ["http", "wasi:http"];

/// Creates a connection of the guest `calls` with a new name. The connection may send requests to
/// `server`. Unless `settings` contains a `target`, the guest's request has the path `/x`.
#[track_caller]
pub(crate) fn add_connection(
    host: &TestHost,
    server: &ScriptedServer,
    settings: Value,
    secrets: Value,
) -> Connection {
    static NEXT_NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("calls-{}", NEXT_NUMBER.fetch_add(1, Ordering::Relaxed));
    let origin = json!({"url": server.url(), "target": format!("{}/x", server.url())});
    host.add_connection(&name, "calls", merge(origin, settings), secrets)
}

pub(crate) struct Received {
    /// The status of the answer, or the kind of error.
    pub(crate) result: String,
    /// The URL, the headers and the first 10,000 bytes of the body of the answer, or the reason of
    /// the error.
    pub(crate) text: String,
    /// The event of the Create Defect request.
    pub(crate) event: Value,
}

impl Received {
    /// The guest puts what it received into the defect.
    #[track_caller]
    pub(crate) fn from_answer(host: &TestHost, answer: &Answer) -> Self {
        let event = host.event_of(answer);
        let defect = answer.expect(200);
        let member = |name: &str| defect[name].as_str().unwrap_or_default().to_owned();
        Self { result: member("id"), text: member("description"), event }
    }

    pub(crate) fn is_refused(&self) -> bool {
        ["denied", "invalid"].contains(&self.result.as_str())
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.result.parse::<u16>().is_ok()
    }
}

/// Sends a Create Defect request, so that the guest sends its request. Returns what the guest
/// received.
#[track_caller]
pub(crate) fn call(host: &TestHost, connection: &Connection) -> Received {
    Received::from_answer(host, &host.create(connection, &failed_test()))
}

/// A Jackfield server with the guest `calls`, and two servers to which the guest sends requests.
pub(crate) struct TwoOrigins {
    pub(crate) host: TestHost,
    /// The server for whose origin the connections have a grant.
    pub(crate) granted: ScriptedServer,
    /// The server for whose origin no connection has a grant.
    pub(crate) other: ScriptedServer,
}

impl TwoOrigins {
    pub(crate) fn start(setup: Setup) -> Self {
        let answer = |_: &Exchange<'_>| Reply::new(200, "reached");
        Self {
            host: setup.guests(["calls"]).start(),
            granted: ScriptedServer::start(answer),
            other: ScriptedServer::start(answer),
        }
    }

    #[track_caller]
    pub(crate) fn add_connection(&self, settings: Value) -> Connection {
        add_connection(&self.host, &self.granted, settings, json!({}))
    }

    #[track_caller]
    pub(crate) fn call(&self, settings: Value) -> Received {
        call(&self.host, &self.add_connection(settings))
    }

    /// Returns the text with the port of the granted origin instead of `PORT`, and the port of the
    /// other origin instead of `OTHER`.
    pub(crate) fn target(&self, text: &str) -> String {
        let port = |server: &ScriptedServer| server.address().port().to_string();
        text.replace("PORT", &port(&self.granted)).replace("OTHER", &port(&self.other))
    }
}
