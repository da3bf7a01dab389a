//! The audit log: who changed what.

use std::net::IpAddr;

use jiff::Timestamp;
use uuid::Uuid;

use super::{EventId, OutcomeCode, Role, string_enum};

/// The id of an entry. Ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditId(pub Uuid);

string_enum! {
    /// The program with which somebody acted.
    pub enum Via {
        /// A program that uses the admin API with a token.
        Api = "api",
        /// The command `jackfield`.
        Cli = "cli",
        /// A browser that is signed in.
        Console = "console",
    }
}

/// One change that somebody asked for, or an attempt that was refused. It contains no secret:
/// neither the body of the request nor its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The id of the entry.
    pub id: AuditId,
    /// When the request arrived.
    pub at: Timestamp,
    /// The name of the account; absent: the client was not signed in.
    pub account: Option<String>,
    /// The role of the account at that time.
    pub role: Option<Role>,
    /// The address of the client; `0.0.0.0`: several.
    pub client: IpAddr,
    /// The program.
    pub via: Via,
    /// What was asked for, such as `connection.pause`.
    pub action: String,
    /// What it concerned: the name of a connection, connector or account, or the id of a defect.
    pub object: Option<String>,
    /// The result of it; absent if the server ended before that was known.
    pub outcome: Option<OutcomeCode>,
    /// The event that it caused.
    pub event: Option<EventId>,
    /// How often the same attempt was refused again.
    pub repeats: u64,
}
