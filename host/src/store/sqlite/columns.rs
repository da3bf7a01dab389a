//! How values stand in columns: times as milliseconds, ids as text, the rest as JSON.
//!
//! The JSON shapes live here and nowhere else; a member that is missing in an old row reads as its
//! default, so that a newer host reads what an older one wrote.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    Counts, Defect, Effect, Grants, LogLevel, LogLine, Origin, OutboundCall, Received, RunReport,
    SecretGrant, SecretPlace, Usage,
};
use crate::store::StoreError;

pub(super) fn time(ms: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(ms).map_err(|_| unreadable("a time"))
}

pub(super) fn time_opt(ms: Option<i64>) -> Result<Option<Timestamp>, StoreError> {
    ms.map(time).transpose()
}

pub(super) fn uuid(text: &str) -> Result<Uuid, StoreError> {
    text.parse().map_err(|_| unreadable("an id"))
}

pub(super) fn word<T>(value: Option<T>, what: &str) -> Result<T, StoreError> {
    value.ok_or_else(|| unreadable(what))
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Unusable(format!("a value cannot be stored: {error}")))
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| unreadable("JSON"))
}

fn unreadable(what: &str) -> StoreError {
    StoreError::Unusable(format!(
        "the database holds {what} that cannot be read; restore the data folder from a backup"
    ))
}

/// u64 into SQLite's signed column; no real duration or size is that large.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

macro_rules! same_members {
    ($from:ident => $to:ident { $($member:ident),+ $(,)? }) => {
        impl From<$from> for $to {
            fn from(it: $from) -> Self { Self { $($member: it.$member),+ } }
        }
        impl From<$to> for $from {
            fn from(it: $to) -> Self { Self { $($member: it.$member),+ } }
        }
    };
}

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

#[derive(Serialize, Deserialize)]
pub(super) struct GrantsJson {
    origins: Vec<String>,
    #[serde(default)]
    fixed: Vec<String>,
    #[serde(default)]
    secrets: BTreeMap<String, SecretGrantJson>,
}

#[derive(Serialize, Deserialize)]
struct SecretGrantJson {
    origin: String,
    place: PlaceJson,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PlaceJson {
    Bearer,
    Header { name: String, prefix: String },
    Basic { user: Option<String> },
    Query { name: String },
    Placeholder,
    ClientCredentials { token_url: String, client_id: String, scope: Option<String> },
}

impl From<&Grants> for GrantsJson {
    fn from(grants: &Grants) -> Self {
        let texts = |origins: &[Origin]| origins.iter().map(Origin::to_string).collect();
        let secrets = grants.secrets.iter().map(|(name, grant)| {
            let origin = grant.origin.to_string();
            (name.clone(), SecretGrantJson { origin, place: PlaceJson::from(&grant.place) })
        });
        Self {
            origins: texts(&grants.origins),
            fixed: texts(&grants.fixed),
            secrets: secrets.collect(),
        }
    }
}

impl TryFrom<GrantsJson> for Grants {
    type Error = StoreError;

    fn try_from(json: GrantsJson) -> Result<Self, StoreError> {
        let origin =
            |text: &String| text.parse::<Origin>().map_err(|_| unreadable("a granted origin"));
        let mut secrets = BTreeMap::new();
        for (name, grant) in json.secrets {
            let origin = origin(&grant.origin)?;
            secrets.insert(name, SecretGrant { origin, place: grant.place.try_into()? });
        }
        Ok(Self {
            origins: json.origins.iter().map(origin).collect::<Result<_, _>>()?,
            fixed: json.fixed.iter().map(origin).collect::<Result<_, _>>()?,
            secrets,
        })
    }
}

impl From<&SecretPlace> for PlaceJson {
    fn from(place: &SecretPlace) -> Self {
        match place.clone() {
            SecretPlace::Bearer => Self::Bearer,
            SecretPlace::Header { name, prefix } => Self::Header { name, prefix },
            SecretPlace::Basic { user } => Self::Basic { user },
            SecretPlace::Query { name } => Self::Query { name },
            SecretPlace::Placeholder => Self::Placeholder,
            SecretPlace::ClientCredentials { token_url, client_id, scope } => {
                Self::ClientCredentials { token_url: token_url.into(), client_id, scope }
            }
        }
    }
}

impl TryFrom<PlaceJson> for SecretPlace {
    type Error = StoreError;

    fn try_from(json: PlaceJson) -> Result<Self, StoreError> {
        Ok(match json {
            PlaceJson::Bearer => Self::Bearer,
            PlaceJson::Header { name, prefix } => Self::Header { name, prefix },
            PlaceJson::Basic { user } => Self::Basic { user },
            PlaceJson::Query { name } => Self::Query { name },
            PlaceJson::Placeholder => Self::Placeholder,
            PlaceJson::ClientCredentials { token_url, client_id, scope } => {
                let token_url = token_url.parse().map_err(|_| unreadable("a token address"))?;
                Self::ClientCredentials { token_url, client_id, scope }
            }
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct ReceivedJson {
    method: String,
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
}

same_members!(Received => ReceivedJson { method, path, headers, body });

#[derive(Serialize, Deserialize)]
pub(super) struct RunJson {
    call: String,
    outcome: String,
    #[serde(default)]
    detail: String,
    connector_version: String,
    connector_sha256: String,
    log: Vec<(u64, String, String)>,
    calls: Vec<CallJson>,
    usage: UsageJson,
}

#[derive(Serialize, Deserialize)]
struct CallJson {
    at_ms: u64,
    method: String,
    origin: String,
    path: String,
    effect: String,
    status: Option<u16>,
    ms: u64,
    bytes: u64,
    error: Option<String>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct UsageJson {
    memory_bytes: u64,
    cpu_ms: u64,
    run_ms: u64,
    outbound_calls: u64,
    response_body_bytes: u64,
    request_body_bytes: u64,
    log_bytes: u64,
    handles: u64,
    turns: u64,
    yields: u64,
    waited_ticks: u64,
}

impl From<RunReport> for RunJson {
    fn from(run: RunReport) -> Self {
        let line = |line: LogLine| (line.at_ms, line.level.as_str().to_owned(), line.message);
        Self {
            call: run.call,
            outcome: run.outcome,
            detail: run.detail,
            connector_version: run.connector_version,
            connector_sha256: run.connector_sha256,
            log: run.log.into_iter().map(line).collect(),
            calls: run.calls.into_iter().map(CallJson::from).collect(),
            usage: run.usage.into(),
        }
    }
}

impl TryFrom<RunJson> for RunReport {
    type Error = StoreError;

    fn try_from(run: RunJson) -> Result<Self, StoreError> {
        let line = |(at_ms, level, message): (u64, String, String)| {
            let level = word(LogLevel::from_word(&level), "a log level")?;
            Ok(LogLine { at_ms, level, message })
        };
        Ok(Self {
            call: run.call,
            outcome: run.outcome,
            detail: run.detail,
            connector_version: run.connector_version,
            connector_sha256: run.connector_sha256,
            log: run.log.into_iter().map(line).collect::<Result<_, StoreError>>()?,
            calls: run.calls.into_iter().map(OutboundCall::try_from).collect::<Result<_, _>>()?,
            usage: run.usage.into(),
        })
    }
}

impl From<OutboundCall> for CallJson {
    fn from(it: OutboundCall) -> Self {
        let OutboundCall { at_ms, method, origin, path, effect, status, ms, bytes, error } = it;
        let effect = effect.as_str().to_owned();
        Self { at_ms, method, origin, path, effect, status, ms, bytes, error }
    }
}

impl TryFrom<CallJson> for OutboundCall {
    type Error = StoreError;

    fn try_from(it: CallJson) -> Result<Self, StoreError> {
        let CallJson { at_ms, method, origin, path, effect, status, ms, bytes, error } = it;
        let effect = [Effect::Read, Effect::Prepare, Effect::Write]
            .into_iter()
            .find(|known| known.as_str() == effect);
        let effect = word(effect, "an effect")?;
        Ok(Self { at_ms, method, origin, path, effect, status, ms, bytes, error })
    }
}

same_members!(Usage => UsageJson {
    memory_bytes, cpu_ms, run_ms, outbound_calls, response_body_bytes, request_body_bytes,
    log_bytes, handles, turns, yields, waited_ticks,
});
