//! Contains the state that all requests of one run share, such as permission, limits, deadline,
//! record, cookies and memory. Never decides which request may be sent (`authorize.rs`), and never
//! sends one (`send.rs`, `read.rs`).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;

use crate::cpu_time::Meter;
use crate::domain::{Clock, Limits, OutboundCall, Usage, WriteRecord, is_recording};
use crate::memory::Account;
use crate::redact::TextKind;
use crate::telemetry::TraceParent;

use super::authorize::{self, CheckedRequest};
use super::cookies::Cookies;
use super::record::{Call, Record};
use super::spool::RunSpool;
use super::tape::{Recorder, Tape};
use super::{ActiveConnection, Egress, Permission, RunAccounts};

/// [`RunRequests::finish`] waits for the writes in progress until this time after
/// `request_deadline` at the latest. Exchanges that end at the deadline need a moment to record
/// their result.
const FINISH_GRACE: Duration = Duration::from_secs(2);

pub(crate) struct RunRequests {
    pub(super) egress: Arc<Egress>,
    pub(super) active: Arc<ActiveConnection>,
    pub(super) permission: Permission,
    pub(super) limits: Limits,
    /// All requests of the run end at this time at the latest. The run itself may end later.
    pub(super) request_deadline: Instant,
    pub(super) meter: Arc<Meter>,
    pub(super) memory: Arc<Account>,
    /// The temporary file of the run, for large bodies.
    pub(super) spool: Arc<RunSpool>,
    pub(super) record: Arc<Record>,
    pub(super) cookies: Arc<Cookies>,
    /// The trace that the requests continue in the header `traceparent`, if there is one.
    trace: OnceLock<TraceParent>,
    pub(super) tape: Option<Tape>,
    /// Locked during a write, because the journal tracks one write at a time.
    pub(super) write_lock: Arc<Mutex<()>>,
    /// The writes in progress. [`RunRequests::finish`] waits for them.
    pub(super) writes: TaskTracker,
}

impl RunRequests {
    pub(crate) fn new(
        egress: Arc<Egress>,
        active: Arc<ActiveConnection>,
        permission: Permission,
        limits: Limits,
        clock: Arc<dyn Clock>,
        request_deadline: Instant,
        accounts: RunAccounts,
    ) -> Arc<Self> {
        let RunAccounts { meter, memory } = accounts;
        let spool = RunSpool::new(&egress.spool);
        let cookies = Arc::new(Cookies::new());
        let recording_until = active.connection.recording_until;
        let recording_until =
            recording_until.filter(|until| is_recording(Some(*until), clock.now()));
        let tape_in_memory = || {
            recording_until.map(|until| Tape::Record(Arc::new(Recorder::in_memory_until(until))))
        };
        let tape = active.tape.clone().or_else(|| egress.tape.clone()).or_else(tape_in_memory);
        let secret_sources = (Arc::clone(&active), Arc::clone(&cookies));
        let record = Record::new(secret_sources, clock, limits.outbound_calls, request_deadline);
        Arc::new(Self {
            egress,
            active,
            permission,
            limits,
            request_deadline,
            meter,
            memory,
            spool,
            record: Arc::new(record),
            cookies,
            trace: OnceLock::new(),
            tape,
            write_lock: Arc::default(),
            writes: TaskTracker::new(),
        })
    }

    /// Makes all further requests of the run continue this trace, except requests for tokens.
    pub(crate) fn continue_trace(&self, trace: TraceParent) {
        let _ = self.trace.set(trace);
    }

    pub(super) fn add_trace(&self, outbound: &mut CheckedRequest, call: &Call) {
        let Some(trace) = self.trace.get().map(TraceParent::child) else { return };
        outbound.traceparent = HeaderValue::try_from(trace.to_string()).ok();
        call.record_span(trace.span);
    }

    /// Runs `work` until the deadline of the run's requests, or until the server ends all
    /// exchanges. Returns `None` if `work` is not complete then.
    pub(super) async fn until_deadline<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let (deadline, mut closed_at) = (self.request_deadline, self.egress.closed_at.subscribe());
        let closing = async move {
            let closed_at = closed_at.wait_for(Option::is_some).await.ok().and_then(|at| *at);
            sleep_until(closed_at.unwrap_or(deadline)).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = sleep_until(deadline) => None,
            () = closing => None,
        }
    }

    /// Returns whether a recording answers the requests, so that the host makes no HTTP connection.
    pub(super) fn is_replay(&self) -> bool {
        matches!(self.tape, Some(Tape::Replay(_)))
    }

    /// Masks secrets, and those values of cookies that may be credentials, in a text for people.
    pub(crate) fn redact(&self, text: String) -> String {
        self.cookies.redact(self.redact_as(TextKind::ForPeople, text))
    }

    /// Masks secrets in a text of this kind. Does not mask cookies, because the value of a cookie
    /// may also be a part of a link.
    pub(crate) fn redact_as(&self, kind: TextKind, text: String) -> String {
        self.active.credentials.redactor.load().redact(kind, text)
    }

    /// Prevents new writes, waits for the writes in progress until shortly after the deadline, and
    /// returns the record.
    pub(crate) async fn finish(&self) -> (Vec<OutboundCall>, Vec<WriteRecord>) {
        self.record.close();
        self.writes.close();
        if !self.writes.is_empty() {
            // If the exchange of a write has not ended after this wait, the record says "still
            // under way".
            let _ = timeout_at(self.request_deadline + FINISH_GRACE, self.writes.wait()).await;
        }
        self.record.snapshot()
    }

    /// Takes the exchanges that were recorded in memory, and the reason if exchanges are missing.
    /// Returns `None` if the run does not record exchanges in memory.
    pub(crate) fn take_recording(&self) -> Option<(Vec<String>, Option<String>)> {
        match &self.tape {
            Some(Tape::Record(recorder)) => recorder.take_exchanges(),
            _ => None,
        }
    }

    /// Returns whether a request began before the deadline of the run's requests and ended at the
    /// deadline or later.
    pub(crate) fn missed_request_deadline(&self) -> bool {
        self.record.missed_request_deadline()
    }

    pub(crate) fn is_reserved_header(&self, name: &str) -> bool {
        let own_headers = &self.egress.own_server.headers;
        authorize::is_reserved_header(name, &self.active.connection, own_headers)
    }

    pub(crate) fn active(&self) -> &Arc<ActiveConnection> {
        &self.active
    }

    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    pub(crate) fn memory(&self) -> &Arc<Account> {
        &self.memory
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn fill_usage(&self, usage: &mut Usage) {
        self.record.fill_usage(usage);
    }
}
