//! The entries of the audit log: who changed what, and which attempts were refused. This file never
//! stores an entry.

use std::net::IpAddr;

use jiff::Timestamp;
use uuid::Uuid;

use super::{EventId, OutcomeCode, Role, string_enum};

/// The id of an entry. Ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditId(pub Uuid);

string_enum! {
    /// The kind of program that sent the request.
    pub enum Via {
        /// A program that uses the admin API with a token.
        Api = "api",
        /// The command `jackfield`.
        Cli = "cli",
        /// A browser that is signed in.
        Console = "console",
    }
}

/// One requested change, or one refused attempt. The entry contains no secret: neither the body of
/// the request nor its query is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The id of the entry.
    pub id: AuditId,
    /// When the request arrived.
    pub at: Timestamp,
    /// The name of the account; `None`: the client was not signed in.
    pub account: Option<String>,
    /// The role of the account at that time; `None`: the client was not signed in.
    pub role: Option<Role>,
    /// The address of the client; `0.0.0.0` if the entry counts attempts of several clients.
    pub client: IpAddr,
    /// The kind of program that sent the request.
    pub via: Via,
    /// The requested action, such as `connection.pause`.
    pub action: String,
    /// The object of the action: the name of a connection, connector or account, or the id of a
    /// defect; `None` if no object is known.
    pub object: Option<String>,
    /// The outcome of the action; `None` if none is stored.
    pub outcome: Option<OutcomeCode>,
    /// The event that the action caused; `None` if no event is known.
    pub event: Option<EventId>,
    /// How many times the same attempt was refused again in the same hour.
    pub repeats: u64,
}
