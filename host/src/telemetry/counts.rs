//! The counts of one connection since the start.
//!
//! Never removes a count while the connection exists, so that every counter only grows.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::domain::{
    Call, Connection, ConnectorFault, EventKind, Origin, OutboundCall, OutcomeCode, Refusal,
    RunReport, StringEnum,
};

use super::histogram::Histogram;

const KINDS: usize = EventKind::ALL.len();
const CALLS: usize = Call::ALL.len();
const CODES: usize = OutcomeCode::ALL.len();
/// The limits that end a run. The others refuse a request or a line of the log.
const LIMITS: [&str; 4] = ["cpu_ms", "handles", "memory_bytes", "run_ms"];
/// Maximum number of origins of one connection that are counted by name.
const ORIGINS_MAX: usize = 64;
/// The label of requests to an origin that is not granted, or of which there are too many; and of a
/// status that has no class of its own.
const OTHER: &str = "other";
/// The classes of an answer's status; the first: no answer came; the last: a status from 600 on.
const CLASSES: [&str; 7] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx", OTHER];

/// What happened to one connection.
#[derive(Debug, Default)]
pub(super) struct Counts {
    events: [OnceLock<Box<Ends>>; KINDS],
    runs: [OnceLock<Box<Ends>>; CALLS],
    cpu_ms: AtomicU64,
    memory_peak: AtomicU64,
    traps: AtomicU64,
    limits: [AtomicU64; LIMITS.len()],
    outbound: RwLock<Vec<Outbound>>,
}

/// How the events of one kind, or the runs of one call, ended, and how long they took.
#[derive(Debug)]
pub(super) struct Ends {
    by_code: [AtomicU64; CODES],
    pub(super) durations: Histogram,
}

/// The requests to one origin.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) origin: String,
    by_class: [AtomicU64; CLASSES.len()],
    pub(super) durations: Histogram,
}

impl Default for Ends {
    fn default() -> Self {
        Self { by_code: array::from_fn(|_| AtomicU64::new(0)), durations: Histogram::default() }
    }
}

impl Ends {
    fn of<const N: usize>(all: &[OnceLock<Box<Self>>; N], index: usize) -> Option<&Self> {
        Some(all.get(index)?.get_or_init(Box::default))
    }

    fn count(&self, code: OutcomeCode) {
        if let Some(count) = self.by_code.get(code as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each outcome that has happened, and how often.
    pub(super) fn by_code(&self) -> impl Iterator<Item = (OutcomeCode, u64)> {
        let counts = self.by_code.iter().map(|count| count.load(Ordering::Relaxed));
        OutcomeCode::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0)
    }
}

impl Outbound {
    fn new(origin: &str) -> Self {
        let (by_class, durations) = Default::default();
        Self { origin: origin.to_owned(), by_class, durations }
    }

    fn count(&self, call: &OutboundCall) {
        let class = call.status.map_or(0, |status| usize::from(status / 100));
        if let Some(count) = self.by_class.get(class).or(self.by_class.last()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.durations.observe(call.ms);
    }

    /// Each class of status that has happened, and how often.
    pub(super) fn by_class(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.by_class.iter().map(|count| count.load(Ordering::Relaxed));
        CLASSES.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}

impl Counts {
    pub(super) fn event(&self, kind: EventKind, code: OutcomeCode, ms: u64) {
        if let Some(ends) = Ends::of(&self.events, kind as usize) {
            ends.count(code);
            ends.durations.observe(ms);
        }
    }

    pub(super) fn run(
        &self,
        connection: &Connection,
        report: &RunReport,
        refusal: Option<&Refusal>,
    ) {
        let RunReport { call, outcome, calls, usage, .. } = report;
        if let Some(ends) = Ends::of(&self.runs, *call as usize) {
            ends.count(*outcome);
            // A run that got no permit has no duration.
            if usage.polls > 0 {
                ends.durations.observe(usage.run_ms);
            }
        }
        self.cpu_ms.fetch_add(usage.cpu_ms, Ordering::Relaxed);
        self.memory_peak.fetch_max(usage.memory_bytes, Ordering::Relaxed);
        match refusal {
            Some(Refusal::ConnectorFault(ConnectorFault::Trap(_) | ConnectorFault::Threw(_))) => {
                self.traps.fetch_add(1, Ordering::Relaxed);
            }
            Some(Refusal::ConnectorFault(ConnectorFault::Limit { name, .. })) => {
                self.limit(name);
            }
            _ => {}
        }
        calls.iter().for_each(|call| self.outbound(connection, call));
    }

    fn limit(&self, name: &str) {
        let index = LIMITS.iter().position(|limit| *limit == name);
        if let Some(count) = index.and_then(|index| self.limits.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn outbound(&self, connection: &Connection, call: &OutboundCall) {
        if let Some(known) = self.outbound.read().iter().find(|it| it.origin == call.origin) {
            return known.count(call);
        }
        let is_granted = origins(connection).any(|origin| origin.to_string() == call.origin);
        let mut outbound = self.outbound.write();
        let has_room = outbound.len() < ORIGINS_MAX;
        let label = if is_granted && has_room { call.origin.as_str() } else { OTHER };
        let index = outbound.iter().position(|it| it.origin == label).unwrap_or_else(|| {
            outbound.push(Outbound::new(label));
            outbound.len() - 1
        });
        if let Some(counted) = outbound.get(index) {
            counted.count(call);
        }
    }

    /// The kinds of events that have happened, and how they ended.
    pub(super) fn events(&self) -> impl Iterator<Item = (EventKind, &Ends)> {
        let kinds = EventKind::ALL.iter().copied().zip(&self.events);
        kinds.filter_map(|(kind, ends)| Some((kind, &**ends.get()?)))
    }

    /// The calls of runs that have happened, and how they ended.
    pub(super) fn runs(&self) -> impl Iterator<Item = (Call, &Ends)> {
        let calls = Call::ALL.iter().copied().zip(&self.runs);
        calls.filter_map(|(call, ends)| Some((call, &**ends.get()?)))
    }

    /// The CPU time of all runs.
    pub(super) fn cpu_ms(&self) -> u64 {
        self.cpu_ms.load(Ordering::Relaxed)
    }

    /// The most memory that a run used.
    pub(super) fn memory_peak(&self) -> u64 {
        self.memory_peak.load(Ordering::Relaxed)
    }

    pub(super) fn traps(&self) -> u64 {
        self.traps.load(Ordering::Relaxed)
    }

    /// The limits that end a run, and how often they did.
    pub(super) fn limits(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LIMITS.into_iter().zip(self.limits.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Calls `show` with each origin.
    pub(super) fn each_origin<E>(
        &self,
        show: impl FnMut(&Outbound) -> Result<(), E>,
    ) -> Result<(), E> {
        self.outbound.read().iter().try_for_each(show)
    }
}

/// The origins that a person granted to a connection, for its connector and for the host.
fn origins(connection: &Connection) -> impl Iterator<Item = Origin> {
    let grants = &connection.grants;
    let of_secrets = grants.secrets.values().map(|grant| &grant.origin);
    let granted = grants.origins.iter().chain(&grants.fixed).chain(of_secrets).cloned();
    let manager = connection.test_manager.iter().flat_map(|manager| {
        let own = [&manager.base_url, &manager.token_url];
        let own = own.into_iter().filter_map(|url| Origin::of(url).ok());
        own.chain(manager.asset_origins.iter().cloned())
    });
    granted.chain(manager)
}
