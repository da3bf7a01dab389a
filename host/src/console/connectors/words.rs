//! A connector's manifest and its use of limits in words.

use crate::api::{Connector, RecentUsage, UsedLimit};
use crate::console::event::{size, time};

/// What a connector can do.
pub(super) fn abilities(it: &Connector) -> Vec<String> {
    let of_interface = |name: &String| match name.as_str() {
        "defects" => "creates defects in the tracker".to_owned(),
        "kpis" => "counts defects for Defect KPIs".to_owned(),
        "follow-up" => {
            "reads the state of a defect, comments on it, reopens it and attaches files".to_owned()
        }
        other => format!("exports {other}"),
    };
    let mut all: Vec<_> = it.interfaces.iter().map(of_interface).collect();
    let creates = it.interfaces.iter().any(|name| name == "defects");
    match it.index_delay_s {
        Some(0) => all.push("finds a new defect by its search at once".to_owned()),
        Some(delay) => {
            all.push(format!("finds a new defect by its search after at most {delay} s"));
        }
        None if creates => all.push(
            "cannot search the tracker, so a person decides about each defect in doubt".to_owned(),
        ),
        None => {}
    }
    all
}

/// How much of a limit runs used.
pub(super) struct UsedRow {
    pub(super) what: &'static str,
    pub(super) p50: String,
    pub(super) p99: String,
    pub(super) limit: String,
    /// The part of the limit that 99 of 100 runs did not exceed, percent.
    pub(super) percent: u64,
}

type Unit = fn(u64) -> String;

/// The limits in the order of the page.
const SHOWN: [(&str, &str, Unit); 4] = [
    ("cpu_ms", "CPU time", time),
    ("memory_bytes", "Memory", size),
    ("run_ms", "Duration", time),
    ("outbound_calls", "Outbound calls", |n| n.to_string()),
];

pub(super) fn used(usage: &RecentUsage) -> Vec<UsedRow> {
    let row = |(key, what, unit): (&str, &'static str, Unit)| {
        let UsedLimit { p50, p99, limit } = *usage.limits.get(key)?;
        let percent = (p99.saturating_mul(100) / limit.max(1)).min(100);
        Some(UsedRow { what, p50: unit(p50), p99: unit(p99), limit: unit(limit), percent })
    };
    SHOWN.into_iter().filter_map(row).collect()
}
