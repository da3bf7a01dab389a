//! Describes in English what a connector can do and how much of its limits it uses.

use crate::api::{Connector, RecentUsage, UsedLimit};
use crate::console::event::{format_bytes, format_ms};

/// Returns a phrase for each ability of a connector.
pub(super) fn abilities(connector: &Connector) -> Vec<String> {
    let phrase = |interface: &String| match interface.as_str() {
        "defects" => "creates defects in the tracker".to_owned(),
        "kpis" => "counts defects for Defect KPIs".to_owned(),
        "follow-up" => {
            "reads the state of a defect, comments on it, reopens it and attaches files".to_owned()
        }
        other => format!("exports {other}"),
    };
    let mut phrases: Vec<_> = connector.interfaces.iter().map(phrase).collect();
    let can_create = connector.interfaces.iter().any(|name| name == "defects");
    match connector.index_delay_s {
        Some(0) => {
            phrases.push("can search the tracker, which finds a new defect at once".to_owned());
        }
        Some(delay) => {
            phrases.push(format!(
                "can search the tracker, which finds a new defect after at most {delay} s"
            ));
        }
        None if can_create => phrases.push(
            "cannot search the tracker, so a person decides about each defect in doubt".to_owned(),
        ),
        None => {}
    }
    phrases
}

/// How much of one limit the recent runs used.
pub(super) struct UsedLimitRow {
    pub(super) limit_name: &'static str,
    /// The median of what the runs used.
    pub(super) p50: String,
    /// The 99th percentile of what the runs used.
    pub(super) p99: String,
    pub(super) limit: String,
    /// The 99th percentile in percent of the limit, at most 100.
    pub(super) percent: u64,
}

type FormatValue = fn(u64) -> String;

/// The limits that the page shows: key, name, and the function that formats an amount.
const SHOWN_LIMITS: [(&str, &str, FormatValue); 4] = [
    ("cpu_ms", "CPU time", format_ms),
    ("memory_bytes", "Memory", format_bytes),
    ("run_ms", "Duration", format_ms),
    ("outbound_calls", "Outbound calls", |n| n.to_string()),
];

pub(super) fn used_limits(usage: &RecentUsage) -> Vec<UsedLimitRow> {
    let row = |(key, limit_name, format): (&str, &'static str, FormatValue)| {
        let UsedLimit { p50, p99, limit } = *usage.limits.get(key)?;
        let percent = (p99.saturating_mul(100) / limit.max(1)).min(100);
        Some(UsedLimitRow {
            limit_name,
            p50: format(p50),
            p99: format(p99),
            limit: format(limit),
            percent,
        })
    };
    SHOWN_LIMITS.into_iter().filter_map(row).collect()
}
