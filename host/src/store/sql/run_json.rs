//! The JSON of an event's steps and of the reports of its runs, as they are stored in the columns
//! `steps` and `runs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::columns::{parse_stored_enum, same_members};
use super::unreadable::Unreadable;
use crate::domain::{
    LogLine, OutboundCall, RunReport, RunTimes, StringEnum as _, TimedStep, TimedSteps, Usage,
};

/// The initial capacity for the JSON of an event's steps, bytes.
const STEPS_CAPACITY_BYTES: usize = 64;

#[derive(Serialize, Deserialize)]
pub(super) struct RunJson {
    call: String,
    outcome: String,
    #[serde(default)]
    detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    setting: Option<String>,
    connector_version: String,
    connector_sha256: String,
    log: Vec<(u64, String, String)>,
    calls: Vec<CallJson>,
    usage: UsageJson,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<TimesJson>,
}

/// Writes the steps of an event, each with its start and its duration in microseconds:
/// `[{"claim":[300,700]},…]`. The SQL in `events.rs` appends later steps: it removes the last
/// bracket of the stored text. Returns `None` if there are no steps.
pub(super) fn steps_json(steps: &TimedSteps) -> Option<String> {
    let mut text = String::with_capacity(STEPS_CAPACITY_BYTES);
    for TimedStep { kind, at_us, duration_us } in steps.iter() {
        let before = if text.is_empty() { '[' } else { ',' };
        write!(text, "{before}{{\"{}\":[{at_us},{duration_us}]}}", kind.as_str()).ok()?;
    }
    if text.is_empty() {
        return None;
    }
    text.push(']');
    Some(text)
}

pub(super) fn parse_steps(json: &str) -> Result<TimedSteps, Unreadable> {
    let read: Vec<BTreeMap<String, (u32, u32)>> =
        serde_json::from_str(json).map_err(|error| Unreadable::new("its steps", error))?;
    let mut read: Vec<_> = read.into_iter().flatten().collect();
    read.sort_by_key(|(_, (at_us, _))| *at_us);
    let mut steps = TimedSteps::default();
    for (kind, (at_us, duration_us)) in read {
        steps.add(TimedStep { kind: parse_stored_enum(&kind, "a step")?, at_us, duration_us });
    }
    Ok(steps)
}

#[derive(Deserialize)]
struct RunUsageJson {
    usage: UsageJson,
}

/// Returns the usage of each run of an event. Returns no usage if the column cannot be read.
pub(super) fn parse_usages(runs: &str) -> Vec<Usage> {
    let runs = serde_json::from_str::<Vec<RunUsageJson>>(runs).unwrap_or_default();
    runs.into_iter().map(|run| run.usage.into()).collect()
}

#[derive(Serialize, Deserialize)]
struct CallJson {
    /// The start of the call, milliseconds since the start of the run. Never negative, because
    /// earlier versions of Jackfield cannot read negative numbers.
    at_ms: i64,
    /// The start of a call that began before the run, milliseconds; a negative number. Absent if
    /// the call began during the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    early_ms: Option<i64>,
    method: String,
    origin: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    effect: String,
    status: Option<u16>,
    /// The duration of the call, milliseconds.
    ms: u64,
    /// The size of the decoded body of the answer, bytes.
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
    polls: u64,
    yields: u64,
    /// The sum of the times from a wake-up of the guest to its next poll, in epoch ticks of 10 ms.
    waited_ticks: u64,
    /// How long the run waited for its permit, milliseconds.
    permit_ms: u64,
    /// Number of permits that other waiting runs got while this run waited.
    permits_before: u64,
}

/// The JSON of the four times of a run, microseconds, in the order of the fields of [`RunTimes`].
#[derive(Serialize, Deserialize)]
struct TimesJson(u64, Option<u64>, Option<u64>, u64);

impl From<RunTimes> for TimesJson {
    fn from(times: RunTimes) -> Self {
        Self(times.requested_us, times.started_us, times.called_us, times.ended_us)
    }
}

impl From<TimesJson> for RunTimes {
    fn from(TimesJson(requested_us, started_us, called_us, ended_us): TimesJson) -> Self {
        Self { requested_us, started_us, called_us, ended_us }
    }
}

impl From<RunReport> for RunJson {
    fn from(run: RunReport) -> Self {
        let line = |line: LogLine| (line.at_ms, line.level.as_str().to_owned(), line.message);
        Self {
            call: run.call.as_str().to_owned(),
            outcome: run.outcome.as_str().to_owned(),
            detail: run.detail,
            setting: run.setting,
            connector_version: run.connector_version,
            connector_sha256: run.connector_sha256,
            log: run.log.into_iter().map(line).collect(),
            calls: run.calls.into_iter().map(CallJson::from).collect(),
            usage: run.usage.into(),
            times: run.times.map(TimesJson::from),
        }
    }
}

impl TryFrom<RunJson> for RunReport {
    type Error = Unreadable;

    fn try_from(run: RunJson) -> Result<Self, Unreadable> {
        let line = |(at_ms, level, message): (u64, String, String)| {
            let level = parse_stored_enum(&level, "a log level")?;
            Ok(LogLine { at_ms, level, message })
        };
        Ok(Self {
            call: parse_stored_enum(&run.call, "its call")?,
            outcome: parse_stored_enum(&run.outcome, "its outcome")?,
            detail: run.detail,
            setting: run.setting,
            connector_version: run.connector_version,
            connector_sha256: run.connector_sha256,
            log: run.log.into_iter().map(line).collect::<Result<_, Unreadable>>()?,
            calls: run.calls.into_iter().map(OutboundCall::try_from).collect::<Result<_, _>>()?,
            usage: run.usage.into(),
            times: run.times.map(RunTimes::from),
            recording: None,
        })
    }
}

impl From<OutboundCall> for CallJson {
    fn from(call: OutboundCall) -> Self {
        let OutboundCall {
            at_ms,
            method,
            origin,
            path,
            query,
            effect,
            status,
            ms,
            bytes,
            error,
            ..
        } = call;
        let effect = effect.as_str().to_owned();
        let (at_ms, early_ms) = (at_ms.max(0), (at_ms < 0).then_some(at_ms));
        Self { at_ms, early_ms, method, origin, path, query, effect, status, ms, bytes, error }
    }
}

impl TryFrom<CallJson> for OutboundCall {
    type Error = Unreadable;

    fn try_from(call: CallJson) -> Result<Self, Unreadable> {
        let CallJson {
            at_ms,
            early_ms,
            method,
            origin,
            path,
            query,
            effect,
            status,
            ms,
            bytes,
            error,
        } = call;
        let at_ms = early_ms.unwrap_or(at_ms);
        let (effect, span) = (parse_stored_enum(&effect, "the effect of a call")?, None);
        Ok(Self { at_ms, method, origin, path, query, effect, status, ms, bytes, error, span })
    }
}

same_members!(Usage => UsageJson {
    memory_bytes, cpu_ms, run_ms, outbound_calls, response_body_bytes, request_body_bytes,
    log_bytes, handles, polls, yields, waited_ticks, permit_ms, permits_before,
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Effect;

    #[test]
    fn earlier_versions_can_read_a_call_that_began_before_its_run() {
        for at_ms in [-3, 0, 7] {
            let call = OutboundCall {
                at_ms,
                method: "POST".to_owned(),
                origin: "https://tracker.example".to_owned(),
                path: "/token".to_owned(),
                query: None,
                effect: Effect::Read,
                status: Some(200),
                ms: 1,
                bytes: 2,
                error: None,
                span: None,
            };
            let stored = serde_json::to_value(CallJson::from(call.clone())).unwrap();
            assert!(stored["at_ms"].is_u64(), "{stored}");
            let read: CallJson = serde_json::from_value(stored).unwrap();
            assert_eq!(OutboundCall::try_from(read).ok().unwrap().at_ms, at_ms);
        }
    }
}
