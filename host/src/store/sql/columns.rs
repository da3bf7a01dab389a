//! Converts values to their form in columns and parameters, and back: times as milliseconds, lists
//! of ids as hexadecimal texts, structured values as JSON.
//!
//! A JSON member that older versions of Jackfield did not write must have a default, so that this
//! version can read their rows.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::unreadable::Unreadable;
use crate::domain::{
    ConnectionId, Counts, Defect, DefectId, ReceivedRequest, StringEnum, WebhookPaths,
};
use crate::store::{DatabaseError, StoreError};

/// Converts a stored time, milliseconds since 1970.
pub(super) fn time(ms: i64) -> Result<Timestamp, Unreadable> {
    Timestamp::from_millisecond(ms).map_err(|error| Unreadable::new("a time", error))
}

pub(super) fn time_opt(ms: Option<i64>) -> Result<Option<Timestamp>, Unreadable> {
    ms.map(time).transpose()
}

/// Parses the string of an enum value. `what` names the value in the error. Fails if the string is
/// unknown; a later version of Jackfield may have stored it.
pub(super) fn parse_stored_enum<T: StringEnum>(
    word: &str,
    what: &'static str,
) -> Result<T, Unreadable> {
    T::parse(word).ok_or_else(|| {
        Unreadable::new(what, format!("`{word}` is unknown to this version of Jackfield"))
    })
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| DatabaseError::new("a value cannot be stored", error, None).into())
}

pub(super) fn from_json<T: DeserializeOwned>(
    text: &str,
    what: &'static str,
) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| Unreadable::new(what, error))
}

/// Writes ids as hexadecimal texts, which the SQL function `unhex` reads.
pub(super) fn hex_ids(ids: &[DefectId]) -> Vec<String> {
    ids.iter().map(|id| id.0.simple().to_string()).collect()
}

/// Writes the ids of connections as a JSON array of hexadecimal texts, for the SQL functions
/// `json_each` and `unhex`.
pub(super) fn connection_ids_json(
    ids: Option<&BTreeSet<ConnectionId>>,
) -> Result<Option<String>, StoreError> {
    let hex = ids.map(|ids| ids.iter().map(|id| id.0.simple().to_string()).collect::<Vec<_>>());
    hex.map(|hex| to_json(&hex)).transpose()
}

/// Converts a number to the signed integer that a column stores. A number that is too large becomes
/// the largest integer.
pub(super) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Implements the conversions between a type of the domain and the type of its JSON. Both types
/// must have the same members.
macro_rules! same_members {
    ($from:ident => $to:ident { $($member:ident),+ $(,)? }) => {
        impl From<$from> for $to {
            fn from(value: $from) -> Self { Self { $($member: value.$member),+ } }
        }
        impl From<$to> for $from {
            fn from(value: $to) -> Self { Self { $($member: value.$member),+ } }
        }
    };
}

pub(super) use same_members;

#[derive(Serialize, Deserialize)]
pub(super) struct DefectJson {
    key: String,
    title: String,
    link: String,
    status: Option<String>,
    priority: Option<String>,
    description: Option<String>,
}

same_members!(Defect => DefectJson { key, title, link, status, priority, description });

#[derive(Serialize, Deserialize)]
pub(super) struct CountsJson {
    open: u64,
    closed: u64,
    critical: u64,
    moderate: u64,
    critical_link: Option<String>,
}

same_members!(Counts => CountsJson { open, closed, critical, moderate, critical_link });

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WebhookPathsJson {
    create_defect: Vec<String>,
    kpis: Vec<String>,
}

same_members!(WebhookPaths => WebhookPathsJson { create_defect, kpis });

#[derive(Serialize, Deserialize)]
pub(super) struct ReceivedJson {
    method: String,
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
}

same_members!(ReceivedRequest => ReceivedJson { method, path, headers, body });
