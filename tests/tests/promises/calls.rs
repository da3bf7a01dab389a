//! The test guest `calls`. It sends the one request that its settings describe, through one of the
//! two HTTP interfaces of a connector. The tests of egress and of secrets use this file; it
//! contains no tests.

use std::sync::atomic::{AtomicU32, Ordering};

use jackfield_tests::{
    Answer, Connection, Exchange, Reply, ScriptedServer, Setup, TestHost, failed_test, merge,
};
use serde_json::{Value, json};

/// The two interfaces by which a connector sends requests.
pub(crate) const INTERFACES: [&str; 2] = ["http", "wasi:http"];

/// Creates a connection whose origin is `server`, under a new name. Unless `settings` contains a
/// `target`, the request goes to the path `/x` of the origin.
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

/// The result of the request that the guest sent.
pub(crate) struct Received {
    /// The status of the answer, or the kind of error.
    pub(crate) key: String,
    /// The headers and the body of the answer, or the reason of the error.
    pub(crate) text: String,
    /// The event of the Create Defect.
    pub(crate) event: Value,
}

impl Received {
    /// Reads the result from the answer to a Create Defect.
    #[track_caller]
    pub(crate) fn from_answer(host: &TestHost, answer: &Answer) -> Self {
        let event = host.event_of(answer);
        let defect = answer.expect(200);
        let member = |name: &str| defect[name].as_str().unwrap_or_default().to_owned();
        Self { key: member("id"), text: member("description"), event }
    }

    /// Whether the host refused to send the request.
    pub(crate) fn is_refused(&self) -> bool {
        ["denied", "invalid"].contains(&self.key.as_str())
    }

    /// Whether the request was answered, with any status.
    pub(crate) fn is_answered(&self) -> bool {
        self.key.parse::<u16>().is_ok()
    }
}

/// Sends a Create Defect, so that the guest sends the request of the connection.
#[track_caller]
pub(crate) fn call(host: &TestHost, connection: &Connection) -> Received {
    Received::from_answer(host, &host.create(connection, &failed_test()))
}

/// A server with the guest `calls`, an origin that its connections grant, and an origin that they
/// do not grant.
pub(crate) struct TwoOrigins {
    pub(crate) host: TestHost,
    pub(crate) granted: ScriptedServer,
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

    /// A new connection with these settings.
    #[track_caller]
    pub(crate) fn add_connection(&self, settings: Value) -> Connection {
        add_connection(&self.host, &self.granted, settings, json!({}))
    }

    /// Creates a connection with these settings and lets the guest send its request.
    #[track_caller]
    pub(crate) fn call(&self, settings: Value) -> Received {
        call(&self.host, &self.add_connection(settings))
    }

    /// Replaces `PORT` with the port of the granted origin, and `OTHER` with the port of the other
    /// origin.
    pub(crate) fn target(&self, text: &str) -> String {
        let port = |server: &ScriptedServer| server.address().port().to_string();
        text.replace("PORT", &port(&self.granted)).replace("OTHER", &port(&self.other))
    }
}
