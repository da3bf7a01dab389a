//! The requests of one run: its permission, its limits, its deadline, and what its requests share,
//! such as the record, the cookies and the memory.
//!
//! Also redacts what the guest returned, and waits for the writes in progress when the run ends.
//! Never decides which request may be sent (`authorize.rs`), and never sends one (`send.rs`,
//! `read.rs`).

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

/// How long [`RunRequests::finish`] waits after the deadline of requests: exchanges that end at the
/// deadline need a moment to record their result.
const FINISH_GRACE: Duration = Duration::from_secs(2);

/// The requests of one run.
pub(crate) struct RunRequests {
    pub(super) egress: Arc<Egress>,
    pub(super) active: Arc<ActiveConnection>,
    pub(super) permission: Permission,
    pub(super) limits: Limits,
    /// All requests of the run end at this time. The run itself may end later.
    pub(super) request_deadline: Instant,
    pub(super) meter: Arc<Meter>,
    pub(super) memory: Arc<Account>,
    pub(super) spool: Arc<RunSpool>,
    pub(super) record: Arc<Record>,
    pub(super) cookies: Arc<Cookies>,
    /// The trace that the header `traceparent` of each request names.
    trace: OnceLock<TraceParent>,
    /// Records the exchanges of this run, or answers its requests from a recording.
    pub(super) tape: Option<Tape>,
    /// Locked during a write, because the journal tracks one write at a time.
    pub(super) write_lock: Arc<Mutex<()>>,
    /// Writes that [`RunRequests::finish`] waits for.
    pub(super) writes: TaskTracker,
}

impl RunRequests {
    /// Makes the sender of a run's requests. All requests end by `request_deadline`.
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
        let record_until = active.connection.record_until;
        let record_until = record_until.filter(|until| is_recording(Some(*until), clock.now()));
        let tape_in_memory =
            || record_until.map(|until| Tape::Record(Arc::new(Recorder::in_memory_until(until))));
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

    /// From now on, the requests of the run have the header `traceparent`, each with a span of its
    /// own in this trace.
    pub(crate) fn continue_trace(&self, trace: TraceParent) {
        let _ = self.trace.set(trace);
    }

    /// Adds the header `traceparent` to a request, and its span to the record, if the requests of
    /// this run continue a trace.
    pub(super) fn add_trace(&self, outbound: &mut CheckedRequest, call: &Call) {
        let Some(trace) = self.trace.get().map(TraceParent::child) else { return };
        outbound.traceparent = HeaderValue::try_from(trace.to_string()).ok();
        call.record_span(trace.span);
    }

    /// Runs `work` until the deadline of the run's requests, or until the server ends all
    /// exchanges; `None` if it did not finish.
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

    /// Whether a recording answers the requests, so that no connection is made.
    pub(super) fn is_replay(&self) -> bool {
        matches!(self.tape, Some(Tape::Replay(_)))
    }

    /// Removes every secret and cookie, in every form in which a tracker may echo it, from a text
    /// that the guest returned and that people read.
    pub(crate) fn redact(&self, text: String) -> String {
        self.cookies.redact(self.redact_as(TextKind::ForPeople, text))
    }

    /// Removes every secret from a text that the guest returned. Does not remove cookies, because
    /// the value of a cookie may also be a part of a link.
    pub(crate) fn redact_as(&self, kind: TextKind, text: String) -> String {
        self.active.credentials.redactor.load().redact(kind, text)
    }

    /// Prevents new writes, waits for the writes in progress until shortly after the deadline, and
    /// returns the record.
    pub(crate) async fn finish(&self) -> (Vec<OutboundCall>, Vec<WriteRecord>) {
        self.record.close();
        self.writes.close();
        if !self.writes.is_empty() {
            // A write that runs longer than `FINISH_GRACE` is recorded as "still under way".
            let _ = timeout_at(self.request_deadline + FINISH_GRACE, self.writes.wait()).await;
        }
        self.record.snapshot()
    }

    /// Removes and returns the exchanges that were recorded for the event, with the reason why some
    /// are missing. `None` if the connection does not record its runs.
    pub(crate) fn take_recording(&self) -> Option<(Vec<String>, Option<String>)> {
        match &self.tape {
            Some(Tape::Record(recorder)) => recorder.take(),
            _ => None,
        }
    }

    /// Whether a request began before the deadline of the run's requests and was not complete then.
    pub(crate) fn missed_request_deadline(&self) -> bool {
        self.record.missed_request_deadline()
    }

    /// Whether only the host may set this header.
    pub(crate) fn is_reserved_header(&self, name: &str) -> bool {
        let own_headers = &self.egress.own_server.headers;
        authorize::is_reserved_header(name, &self.active.connection, own_headers)
    }

    /// The connection that this run uses.
    pub(crate) fn active(&self) -> &Arc<ActiveConnection> {
        &self.active
    }

    /// The meter of this run's CPU time. The host's work for its requests is charged to it.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The account to which this run's memory is charged.
    pub(crate) fn memory(&self) -> &Arc<Account> {
        &self.memory
    }

    /// The limits of this run.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets in `usage` how much of the limits that egress enforces was used.
    pub(crate) fn fill_usage(&self, usage: &mut Usage) {
        self.record.fill_usage(usage);
    }
}
