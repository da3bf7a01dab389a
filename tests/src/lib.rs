//! The harness: the built server as a child process, a real Redmine, peers that misbehave on command,
//! and the guests to throw at it.
//!
//! Everything runs on loopback and on ports that the system picks, so that tests run side by side.
//! Nothing here looks into the server's code: what a test knows, it knows over HTTP, from the command
//! line, from the tracker, or from /proc.

mod answer;
mod death;
mod guests;
mod host;
mod names;
mod peer;
mod redmine;
mod repository;
mod rows;
mod until;
mod wire;

pub use answer::{Answer, Client};
pub use death::Point;
pub use guests::{Guest, sha256};
pub use host::{Connection, Setup, TestHost};
pub use names::{Names, own_network};
pub use peer::{Exchange, Gate, Peer, Reply};
pub use redmine::{Issue, Project, Redmine};
pub use repository::{binary, root, xtask};
pub use rows::{age_counts, states};
pub use until::until;
pub use wire::{Request, Response};

/// A failed test that no other call returns: the body of a Create Defect request.
#[must_use]
pub fn failed_test() -> serde_json::Value {
    serde_json::json!({
        "testExecutionId": uuid::Uuid::new_v4().to_string(),
        "testCaseId": uuid::Uuid::new_v4().to_string(),
        "variationId": null,
        "linkToTestCaseLog": "https://tm.example/QA/testexecution-results/1/2",
    })
}
