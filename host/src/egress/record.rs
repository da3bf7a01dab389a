//! The record of one run: every call and every write, kept while they happen, so that nothing is
//! missing when a run is cut short.
//!
//! Redacts every text that it stores. Counts the calls and enforces `limits.outbound_calls`.

use std::sync::Arc;

use http::Method;
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use url::Url;

use crate::domain::{
    Clock, Effect, Origin, OutboundCall, Usage, WriteAnswer, WriteRecord, milliseconds,
};

use crate::redact::{MASK, TextKind};

use super::answer::Answer;
use super::authorize::Outbound;
use super::cookies::Cookies;
use super::query::masked;
use super::{ActiveConnection, HttpError, OutboundResponse};

/// Maximum length of a path, query or error in the record, characters: a guest chooses them.
const TEXT_MAX: usize = 500;

/// The error of a call, and the answer of a write, that has not ended.
const UNDER_WAY: &str = "still under way when the run ended";
/// The error of a call whose future was dropped.
const CANCELLED: &str = "cancelled before the response was complete: the guest or its run ended";

/// The calls and writes of one run.
pub(super) struct Record {
    active: Arc<ActiveConnection>,
    cookies: Arc<Cookies>,
    clock: Arc<dyn Clock>,
    started: Instant,
    calls_max: u64,
    /// The end of the run's requests.
    request_deadline: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: Vec<OutboundCall>,
    writes: Vec<WriteRecord>,
    /// Calls that the guest requested, including calls beyond the limit.
    requested: u64,
    request_body_bytes: u64,
    response_body_bytes: u64,
    /// A request began before the deadline and was not complete then.
    missed_deadline: bool,
    closed: bool,
}

/// One call of a run. A call that is dropped without a result is recorded as cancelled.
pub(super) struct Call {
    record: Arc<Record>,
    /// The index of the call in the record.
    index: usize,
    /// The index of the write in the record, if the call is a write.
    write: Option<usize>,
    /// The address of the request, without secrets.
    url: String,
    started: Instant,
    ended: bool,
}

impl Record {
    pub(super) fn new(
        (active, cookies): (Arc<ActiveConnection>, Arc<Cookies>),
        clock: Arc<dyn Clock>,
        calls_max: u64,
        request_deadline: Instant,
    ) -> Self {
        let state = Mutex::default();
        Self { active, cookies, clock, started: Instant::now(), calls_max, request_deadline, state }
    }

    /// Opens a call. Refused calls count too, so that a loop of refused calls ends.
    pub(super) fn open(
        self: &Arc<Self>,
        method: &Method,
        effect: Effect,
    ) -> Result<Call, HttpError> {
        let mut state = self.state();
        state.requested = state.requested.saturating_add(1);
        if state.requested > self.calls_max {
            let max = self.calls_max;
            return Err(HttpError::Limit(format!(
                "the run sent more requests than `limits.outbound_calls` = {max} allows"
            )));
        }
        state.calls.push(OutboundCall {
            at_ms: ms_between(self.started, Instant::now()),
            method: method.to_string(),
            origin: String::new(),
            path: String::new(),
            query: None,
            effect,
            status: None,
            ms: 0,
            bytes: 0,
            error: Some(UNDER_WAY.to_owned()),
            span: None,
        });
        let index = state.calls.len() - 1;
        drop(state);
        let record = Arc::clone(self);
        let url = String::new();
        Ok(Call { record, index, write: None, url, started: Instant::now(), ended: false })
    }

    /// Whether a write of this run may have been sent.
    pub(super) fn any_write_sent(&self) -> bool {
        self.state().writes.iter().any(WriteRecord::was_sent)
    }

    /// After a write that the tracker did not answer with success, no other write of this run may
    /// be sent, because that write could create a second defect.
    pub(super) fn check_earlier_writes(&self) -> Result<(), HttpError> {
        let state = self.state();
        let failed =
            state.writes.iter().find(|write| write.was_sent() && !write.answer.is_success());
        let Some(write) = failed else { return Ok(()) };
        Err(HttpError::Denied(format!(
            "an earlier write of this run did not succeed ({}); the write was not sent",
            write.request_line
        )))
    }

    /// Whether a request began before the deadline of the run's requests and was not complete then.
    pub(super) fn missed_request_deadline(&self) -> bool {
        self.state().missed_deadline
    }

    /// Refuses all further writes.
    pub(super) fn close(&self) {
        self.state().closed = true;
    }

    /// The time of the wall clock.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether the run has ended, so that the host is evaluating its writes.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// The calls and writes so far.
    pub(super) fn copy(&self) -> (Vec<OutboundCall>, Vec<WriteRecord>) {
        let state = self.state();
        (state.calls.clone(), state.writes.clone())
    }

    /// The calls so far, with their times measured from this instant.
    pub(super) fn calls_measured_from(&self, instant: Instant) -> Vec<OutboundCall> {
        let ahead = ms_between(instant, self.started);
        let later = |call: &OutboundCall| {
            let at_ms = call.at_ms.saturating_add(ahead);
            OutboundCall { at_ms, ..call.clone() }
        };
        self.state().calls.iter().map(later).collect()
    }

    /// Fills in how much of the limits that egress enforces was used.
    pub(super) fn fill(&self, usage: &mut Usage) {
        let state = self.state();
        usage.outbound_calls = state.requested.min(self.calls_max);
        usage.request_body_bytes = state.request_body_bytes;
        usage.response_body_bytes = state.response_body_bytes;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// A text of the guest without secrets, and without their placeholders in a body.
    fn redact_target(&self, text: String) -> String {
        let placeholders = self.active.credentials.placeholders.values();
        let text = placeholders.fold(text, |text, it| text.replace(it.as_str(), MASK));
        shorten(self.redact(text))
    }

    fn redact(&self, text: String) -> String {
        self.cookies
            .redact(self.active.credentials.redactor.load().redact(TextKind::ForPeople, text))
    }
}

impl Call {
    /// Records the target of the call: its origin, its path and its query.
    pub(super) fn record_target(&mut self, origin: &Origin, url: &Url, body_bytes: usize) {
        url.as_str().clone_into(&mut self.url);
        let path = self.record.redact_target(url.path().to_owned());
        let query = url.query().map(|query| self.record.redact_target(masked(query)));
        let bytes = u64::try_from(body_bytes).unwrap_or(u64::MAX);
        let mut state = self.record.state();
        state.request_body_bytes = state.request_body_bytes.max(bytes);
        if let Some(call) = state.calls.get_mut(self.index) {
            (call.origin, call.path, call.query) = (origin.to_string(), path, query);
        }
    }

    /// Records the span that the request names.
    pub(super) fn record_span(&self, span: u64) {
        if let Some(call) = self.record.state().calls.get_mut(self.index) {
            call.span = Some(span);
        }
    }

    /// Adds the call to the record as a write that is not sent yet.
    ///
    /// # Errors
    /// The run has ended, so the evaluation of its writes would miss this write.
    pub(super) fn open_write(&mut self, outbound: &Outbound) -> Result<(), HttpError> {
        let Outbound { method, origin, url, .. } = outbound;
        let request_line = self.record.redact(format!("{method} {origin}{}", url.path()));
        let (answer, ended_at) = (WriteAnswer::NotSent, self.record.clock.now());
        let write = WriteRecord { request_line, answer, ended_at };
        let mut state = self.record.state();
        if state.closed {
            return Err(HttpError::Denied("the run has ended; the write was not sent".to_owned()));
        }
        state.writes.push(write);
        self.write = Some(state.writes.len() - 1);
        Ok(())
    }

    /// Records that the first byte of the write may be sent from now on.
    pub(super) fn record_write_under_way(&self) {
        self.record_write(WriteAnswer::Broken(UNDER_WAY.to_owned()));
    }

    /// Records what is known about the write.
    pub(super) fn record_write(&self, answer: WriteAnswer) {
        let answer = match answer {
            WriteAnswer::Broken(why) => WriteAnswer::Broken(self.record.redact(why)),
            WriteAnswer::NotSent | WriteAnswer::Status(_) => answer,
        };
        let ended_at = self.record.clock.now();
        let mut state = self.record.state();
        if let Some(write) = self.write.and_then(|index| state.writes.get_mut(index)) {
            (write.answer, write.ended_at) = (answer, ended_at);
        }
    }

    /// Records the result of the call.
    pub(super) fn record_result(&mut self, result: &Result<Answer, HttpError>) {
        match result {
            Ok(answer) => {
                let bytes = answer.body.len();
                self.end(|call| {
                    (call.status, call.bytes, call.error) = (Some(answer.status), bytes, None)
                });
                let mut state = self.record.state();
                state.response_body_bytes = state.response_body_bytes.max(bytes);
            }
            Err(error) => {
                let error = shorten(self.record.redact(error.to_string()));
                self.end(|call| call.error = Some(error));
            }
        }
    }

    /// Records the result and returns it as the guest may see it: redacted.
    pub(super) fn finish(
        mut self,
        result: Result<Answer, HttpError>,
    ) -> Result<OutboundResponse, HttpError> {
        self.record_result(&result);
        let redactor = self.record.active.credentials.redactor.load();
        let url = std::mem::take(&mut self.url);
        match result {
            Ok(answer) => Ok(OutboundResponse::redacted(answer, url, &redactor)),
            Err(error) => Err(error.redacted(&redactor)),
        }
    }

    fn end(&mut self, change: impl FnOnce(&mut OutboundCall)) {
        self.ended = true;
        let deadline = self.record.request_deadline;
        let mut state = self.record.state();
        state.missed_deadline |= self.started < deadline && Instant::now() >= deadline;
        if let Some(call) = state.calls.get_mut(self.index) {
            call.ms = milliseconds(self.started.elapsed());
            change(call);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.end(|call| call.error = Some(CANCELLED.to_owned()));
        }
    }
}

/// Milliseconds from an instant to another one; negative if that one is earlier.
fn ms_between(from: Instant, to: Instant) -> i64 {
    let ms = |duration| i64::try_from(milliseconds(duration)).unwrap_or(i64::MAX);
    ms(to.saturating_duration_since(from)) - ms(from.saturating_duration_since(to))
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
