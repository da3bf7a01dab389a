//! The counts of one connection, or of the requests that matched no connection, since the start of
//! the server.
//!
//! A count is never removed while the connection exists, because a counter must never decrease.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::domain::{
    Call, Connection, ConnectorFault, EventKind, Origin, OutboundCall, OutcomeCode, Refusal,
    RunReport, StringEnum,
};

use super::histogram::Histogram;

const KIND_COUNT: usize = EventKind::ALL.len();
const CALL_COUNT: usize = Call::ALL.len();
const CODE_COUNT: usize = OutcomeCode::ALL.len();
/// The names of the limits that can end a run.
const RUN_LIMITS: [&str; 4] = ["cpu_ms", "handles", "memory_bytes", "run_ms"];
/// Maximum number of origins of one connection that are counted by name.
const ORIGINS_MAX: usize = 64;
/// The label of origins that are not granted, of origins beyond [`ORIGINS_MAX`], and of statuses of
/// 600 or more.
const OTHER_LABEL: &str = "other";
/// The first class is for requests without an answer, and the last class is for statuses of 600 or
/// more.
const STATUS_CLASSES: [&str; 7] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx", OTHER_LABEL];

#[derive(Debug, Default)]
pub(super) struct Counts {
    events: [OnceLock<Box<OutcomeCounts>>; KIND_COUNT],
    runs: [OnceLock<Box<OutcomeCounts>>; CALL_COUNT],
    cpu_ms: AtomicU64,
    memory_peak_bytes: AtomicU64,
    traps: AtomicU64,
    limits: [AtomicU64; RUN_LIMITS.len()],
    outbound: RwLock<Vec<OriginCounts>>,
}

#[derive(Debug)]
pub(super) struct OutcomeCounts {
    /// One count for each code, in the order of [`OutcomeCode::ALL`].
    by_code: [AtomicU64; CODE_COUNT],
    pub(super) durations: Histogram,
}

#[derive(Debug)]
pub(super) struct OriginCounts {
    pub(super) origin: String,
    /// One count for each class, in the order of [`STATUS_CLASSES`].
    by_class: [AtomicU64; STATUS_CLASSES.len()],
    pub(super) durations: Histogram,
}

impl Default for OutcomeCounts {
    fn default() -> Self {
        Self { by_code: array::from_fn(|_| AtomicU64::new(0)), durations: Histogram::default() }
    }
}

impl OutcomeCounts {
    fn get_or_create<const N: usize>(
        counts: &[OnceLock<Box<Self>>; N],
        index: usize,
    ) -> Option<&Self> {
        Some(counts.get(index)?.get_or_init(Box::default))
    }

    fn count(&self, code: OutcomeCode) {
        if let Some(count) = self.by_code.get(code as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the outcomes that have occurred, and how often.
    pub(super) fn by_code(&self) -> impl Iterator<Item = (OutcomeCode, u64)> {
        let counts = self.by_code.iter().map(|count| count.load(Ordering::Relaxed));
        OutcomeCode::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0)
    }
}

impl OriginCounts {
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

    /// Returns the classes of status that have occurred, and how often.
    pub(super) fn by_class(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.by_class.iter().map(|count| count.load(Ordering::Relaxed));
        STATUS_CLASSES.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}

impl Counts {
    pub(super) fn count_event(&self, kind: EventKind, code: OutcomeCode, ms: u64) {
        if let Some(outcomes) = OutcomeCounts::get_or_create(&self.events, kind as usize) {
            outcomes.count(code);
            outcomes.durations.observe(ms);
        }
    }

    pub(super) fn count_run(
        &self,
        connection: &Connection,
        report: &RunReport,
        refusal: Option<&Refusal>,
    ) {
        let RunReport { call, outcome, calls, usage, .. } = report;
        if let Some(outcomes) = OutcomeCounts::get_or_create(&self.runs, *call as usize) {
            outcomes.count(*outcome);
            // A run that was never polled, for example because it got no permit, has no duration.
            if usage.polls > 0 {
                outcomes.durations.observe(usage.run_ms);
            }
        }
        self.cpu_ms.fetch_add(usage.cpu_ms, Ordering::Relaxed);
        self.memory_peak_bytes.fetch_max(usage.memory_bytes, Ordering::Relaxed);
        match refusal {
            Some(Refusal::ConnectorFault(ConnectorFault::Trap(_) | ConnectorFault::Threw(_))) => {
                self.traps.fetch_add(1, Ordering::Relaxed);
            }
            Some(Refusal::ConnectorFault(ConnectorFault::Limit { name, .. })) => {
                self.count_limit(name);
            }
            _ => {}
        }
        calls.iter().for_each(|call| self.count_outbound(connection, call));
    }

    /// Counts a run that the limit with this name ended.
    fn count_limit(&self, name: &str) {
        let index = RUN_LIMITS.iter().position(|limit| *limit == name);
        if let Some(count) = index.and_then(|index| self.limits.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count_outbound(&self, connection: &Connection, call: &OutboundCall) {
        if let Some(counts) =
            self.outbound.read().iter().find(|counts| counts.origin == call.origin)
        {
            return counts.count(call);
        }
        let is_granted =
            granted_origins(connection).any(|origin| origin.to_string() == call.origin);
        let mut outbound = self.outbound.write();
        let has_room = outbound.len() < ORIGINS_MAX;
        let label = if is_granted && has_room { call.origin.as_str() } else { OTHER_LABEL };
        let index =
            outbound.iter().position(|counts| counts.origin == label).unwrap_or_else(|| {
                outbound.push(OriginCounts::new(label));
                outbound.len() - 1
            });
        if let Some(counts) = outbound.get(index) {
            counts.count(call);
        }
    }

    pub(super) fn events(&self) -> impl Iterator<Item = (EventKind, &OutcomeCounts)> {
        let kinds = EventKind::ALL.iter().copied().zip(&self.events);
        kinds.filter_map(|(kind, outcomes)| Some((kind, &**outcomes.get()?)))
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = (Call, &OutcomeCounts)> {
        let calls = Call::ALL.iter().copied().zip(&self.runs);
        calls.filter_map(|(call, outcomes)| Some((call, &**outcomes.get()?)))
    }

    pub(super) fn cpu_ms(&self) -> u64 {
        self.cpu_ms.load(Ordering::Relaxed)
    }

    pub(super) fn memory_peak_bytes(&self) -> u64 {
        self.memory_peak_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn traps(&self) -> u64 {
        self.traps.load(Ordering::Relaxed)
    }

    /// Returns how many runs each of [`RUN_LIMITS`] ended.
    pub(super) fn limits(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RUN_LIMITS.into_iter().zip(self.limits.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    pub(super) fn for_each_origin<E>(
        &self,
        show: impl FnMut(&OriginCounts) -> Result<(), E>,
    ) -> Result<(), E> {
        self.outbound.read().iter().try_for_each(show)
    }
}

/// Returns the origins of a connection's grants and of its settings for Test Manager.
fn granted_origins(connection: &Connection) -> impl Iterator<Item = Origin> {
    let grants = &connection.grants;
    let secret_origins = grants.secrets.values().map(|grant| &grant.origin);
    let granted = grants.origins.iter().chain(&grants.fixed_origins).chain(secret_origins).cloned();
    let manager = connection.test_manager.iter().flat_map(|manager| {
        let api_origins = [&manager.base_url, &manager.token_url];
        let api_origins = api_origins.into_iter().filter_map(|url| Origin::of(url).ok());
        api_origins.chain(manager.asset_origins.iter().cloned())
    });
    granted.chain(manager)
}
