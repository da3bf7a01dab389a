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
        /// A program other than the command `jackfield`, which uses the admin API.
        Api = "api",
        /// The command `jackfield`.
        Cli = "cli",
        /// A browser that is signed in or tries to sign in.
        Console = "console",
    }
}

/// One requested change, or one refused attempt. The entry contains no secret: neither the body of
/// the request nor its query is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// The id of the entry.
    pub id: AuditId,
    /// When the entry was made.
    pub at: Timestamp,
    /// The name of the account; `None`: the client was not signed in.
    pub account: Option<String>,
    /// The role of the account at that time; `None`: the client was not signed in.
    pub role: Option<Role>,
    /// The address of the client; `0.0.0.0` if the entry may count attempts of several clients.
    pub client: IpAddr,
    /// The kind of program that sent the request.
    pub via: Via,
    /// The requested action, such as `connection.pause`.
    pub action: String,
    /// The name or id of the object of the action, such as a connection or a defect; `None` if no
    /// object is known.
    pub object: Option<String>,
    /// The outcome of the action; `None` if none is stored.
    pub outcome: Option<OutcomeCode>,
    /// The event that the action caused, such as that of a try; `None` if no event is known.
    pub event: Option<EventId>,
    /// How many times the same attempt was refused again in the same hour.
    pub repeats: u64,
}
