//! Types of `/audit`, which lists the entries of the audit log: who changed what.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{self, OutcomeCode, Role, Via, printable};

use super::{EnumString, Time};

/// The query of `GET /audit`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditQuery {
    /// Only entries at or after this instant, in the format of RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub since: Option<Timestamp>,
    /// Only entries before this instant, in the format of RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub until: Option<Timestamp>,
    /// Only entries for requests of the account with this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Only entries whose `object` is this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Only entries whose `action` is this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// The value of `next` in the previous page; absent for the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Uuid>,
    /// The maximum number of entries in a page, 1 to 200; 50 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The answer to `GET /audit`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AuditList {
    /// The entries of this page, newest first.
    pub entries: Vec<AuditEntry>,
    /// The `cursor` that requests the next page; `null` in the last page.
    pub next: Option<Uuid>,
}

/// One change that an account requested, or an attempt that was refused.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// The id of the entry.
    pub id: Uuid,
    /// The time at which the entry was added to the audit log.
    pub at: Time,
    /// The name of the account; `null` if the client was not signed in.
    pub account: Option<String>,
    /// The role of the account when the request arrived; `null` if the client was not signed in.
    pub role: Option<EnumString<Role>>,
    /// The address of the client; `0.0.0.0` if the entry may count requests of several clients.
    pub client: String,
    /// The program that sent the request: the CLI, the console, or another client of the API.
    pub via: EnumString<Via>,
    /// The name of the change, such as `connection.pause`; `read` for a request that changes
    /// nothing.
    pub action: String,
    /// The object of the change: the name of a connection, connector or account, or the id of a
    /// token, defect or event. For a request that was refused before its handler ran, the path of
    /// the request. `null` if the change has no object.
    pub object: Option<String>,
    /// The outcome of the change; `null` while it is not known, or if it could not be stored.
    pub outcome: Option<EnumString<OutcomeCode>>,
    /// The id of the event that the change caused; `null` if the change caused no event.
    pub event: Option<Uuid>,
    /// The number of times that the same attempt was refused again in the same period of one hour.
    #[serde(default)]
    pub repeats: u64,
}

impl From<domain::AuditEntry> for AuditEntry {
    fn from(entry: domain::AuditEntry) -> Self {
        Self {
            id: entry.id.0,
            at: Time(entry.at),
            account: entry.account,
            role: entry.role.map(EnumString),
            client: entry.client.to_string(),
            via: EnumString(entry.via),
            action: entry.action,
            object: entry.object.as_deref().map(printable),
            outcome: entry.outcome.map(EnumString),
            event: entry.event.map(|id| id.0),
            repeats: entry.repeats,
        }
    }
}
