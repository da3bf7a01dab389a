//! Records the outbound calls and the writes of one run. A call or write is recorded when it
//! begins, so the record contains it even if the run is stopped.
//!
//! Never stores a path, query or error that is not redacted. Also counts the calls and enforces
//! `limits.outbound_calls`. A call above this limit is not recorded.

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
use super::authorize::CheckedRequest;
use super::cookies::Cookies;
use super::query::mask_credentials;
use super::{ActiveConnection, HttpError, OutboundResponse};

/// The path, the query and the error of a call are shortened to this number of characters.
const TEXT_CHARS_MAX: usize = 500;

/// The error that is recorded until a call, or the exchange of a write, ends.
const STILL_UNDER_WAY: &str = "still under way when the run ended";
/// The error of a call whose future was dropped.
const CANCELLED: &str = "cancelled before the response was complete: the guest or its run ended";

pub(super) struct Record {
    active: Arc<ActiveConnection>,
    cookies: Arc<Cookies>,
    clock: Arc<dyn Clock>,
    started_at: Instant,
    /// The value of `limits.outbound_calls`.
    calls_max: u64,
    request_deadline: Instant,
    state: Mutex<RecordState>,
}

#[derive(Default)]
struct RecordState {
    calls: Vec<OutboundCall>,
    writes: Vec<WriteRecord>,
    /// The number of calls so far, including calls that were refused because of the limit.
    requested_calls: u64,
    /// The size of the largest request body.
    request_body_bytes: u64,
    /// The size of the largest response body.
    response_body_bytes: u64,
    /// Whether a request began before the deadline and ended at the deadline or later.
    missed_deadline: bool,
    /// Whether the run has ended. Then further writes are refused.
    is_closed: bool,
}

/// One outbound call of a run. If the call is dropped without a result, it is recorded as
/// cancelled.
pub(super) struct Call {
    record: Arc<Record>,
    index: usize,
    write_index: Option<usize>,
    /// The URL of the request before secrets are inserted; empty until it is recorded.
    url: String,
    started_at: Instant,
    is_ended: bool,
}

impl Record {
    pub(super) fn new(
        (active, cookies): (Arc<ActiveConnection>, Arc<Cookies>),
        clock: Arc<dyn Clock>,
        calls_max: u64,
        request_deadline: Instant,
    ) -> Self {
        let state = Mutex::default();
        Self {
            active,
            cookies,
            clock,
            started_at: Instant::now(),
            calls_max,
            request_deadline,
            state,
        }
    }

    /// Adds a call that begins now. Refused calls also count against `limits.outbound_calls`, so a
    /// guest that repeats a refused call reaches the limit.
    pub(super) fn begin_call(
        self: &Arc<Self>,
        method: &Method,
        effect: Effect,
    ) -> Result<Call, HttpError> {
        let mut state = self.state();
        state.requested_calls = state.requested_calls.saturating_add(1);
        if state.requested_calls > self.calls_max {
            let max = self.calls_max;
            return Err(HttpError::Limit(format!(
                "the run sent more requests than `limits.outbound_calls` = {max} allows"
            )));
        }
        state.calls.push(OutboundCall {
            at_ms: ms_between(self.started_at, Instant::now()),
            method: method.to_string(),
            origin: String::new(),
            path: String::new(),
            query: None,
            effect,
            status: None,
            ms: 0,
            bytes: 0,
            error: Some(STILL_UNDER_WAY.to_owned()),
            span: None,
        });
        let index = state.calls.len() - 1;
        drop(state);
        let record = Arc::clone(self);
        let url = String::new();
        let started_at = Instant::now();
        Ok(Call { record, index, write_index: None, url, started_at, is_ended: false })
    }

    pub(super) fn may_have_sent_write(&self) -> bool {
        self.state().writes.iter().any(WriteRecord::was_sent)
    }

    /// Refuses a further write if an earlier write of this run was sent and did not succeed,
    /// because the further write could create a second defect.
    pub(super) fn check_earlier_writes(&self) -> Result<(), HttpError> {
        let state = self.state();
        let failed =
            state.writes.iter().find(|write| write.was_sent() && !write.answer.is_success());
        let Some(write) = failed else { return Ok(()) };
        Err(HttpError::Denied(format!(
            "an earlier write of this run did not succeed ({}), so this write was not sent",
            write.request_line
        )))
    }

    pub(super) fn missed_request_deadline(&self) -> bool {
        self.state().missed_deadline
    }

    pub(super) fn close(&self) {
        self.state().is_closed = true;
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns whether the run has ended, so that no further write may begin.
    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    pub(super) fn snapshot(&self) -> (Vec<OutboundCall>, Vec<WriteRecord>) {
        let state = self.state();
        (state.calls.clone(), state.writes.clone())
    }

    /// Returns the calls that are recorded so far, with `at_ms` measured from this instant.
    pub(super) fn calls_measured_from(&self, instant: Instant) -> Vec<OutboundCall> {
        let offset_ms = ms_between(instant, self.started_at);
        let with_offset = |call: &OutboundCall| {
            let at_ms = call.at_ms.saturating_add(offset_ms);
            OutboundCall { at_ms, ..call.clone() }
        };
        self.state().calls.iter().map(with_offset).collect()
    }

    pub(super) fn fill_usage(&self, usage: &mut Usage) {
        let state = self.state();
        usage.outbound_calls = state.requested_calls.min(self.calls_max);
        usage.request_body_bytes = state.request_body_bytes;
        usage.response_body_bytes = state.response_body_bytes;
    }

    fn state(&self) -> MutexGuard<'_, RecordState> {
        self.state.lock()
    }

    /// Masks secrets and their placeholders in a path or query, and shortens the text.
    fn redact_and_shorten(&self, text: String) -> String {
        let placeholders = self.active.credentials.placeholders.values();
        let text =
            placeholders.fold(text, |text, placeholder| text.replace(placeholder.as_str(), MASK));
        shorten(self.redact(text))
    }

    fn redact(&self, text: String) -> String {
        self.cookies
            .redact(self.active.credentials.redactor.load().redact(TextKind::ForPeople, text))
    }
}

impl Call {
    pub(super) fn record_target(&mut self, origin: &Origin, url: &Url, body_bytes: usize) {
        url.as_str().clone_into(&mut self.url);
        let path = self.record.redact_and_shorten(url.path().to_owned());
        let query =
            url.query().map(|query| self.record.redact_and_shorten(mask_credentials(query)));
        let bytes = u64::try_from(body_bytes).unwrap_or(u64::MAX);
        let mut state = self.record.state();
        state.request_body_bytes = state.request_body_bytes.max(bytes);
        if let Some(call) = state.calls.get_mut(self.index) {
            (call.origin, call.path, call.query) = (origin.to_string(), path, query);
        }
    }

    /// Records the span that is in the header `traceparent` of the request.
    pub(super) fn record_span(&self, span: u64) {
        if let Some(call) = self.record.state().calls.get_mut(self.index) {
            call.span = Some(span);
        }
    }

    /// Adds the call to the record as a write that is not sent yet. Refuses the write if the run
    /// has ended, because the host may already have read the record.
    pub(super) fn add_unsent_write(&mut self, outbound: &CheckedRequest) -> Result<(), HttpError> {
        let CheckedRequest { method, origin, url, .. } = outbound;
        let request_line = self.record.redact(format!("{method} {origin}{}", url.path()));
        let (answer, ended_at) = (WriteAnswer::NotSent, self.record.clock.now());
        let write = WriteRecord { request_line, answer, ended_at };
        let mut state = self.record.state();
        if state.is_closed {
            return Err(HttpError::Denied("the run has ended; the write was not sent".to_owned()));
        }
        state.writes.push(write);
        self.write_index = Some(state.writes.len() - 1);
        Ok(())
    }

    /// Records that the first byte of the write may be sent from now on.
    pub(super) fn record_write_under_way(&self) {
        self.record_write(WriteAnswer::Broken(STILL_UNDER_WAY.to_owned()));
    }

    pub(super) fn record_write(&self, answer: WriteAnswer) {
        let answer = match answer {
            WriteAnswer::Broken(why) => WriteAnswer::Broken(self.record.redact(why)),
            WriteAnswer::NotSent | WriteAnswer::Status(_) => answer,
        };
        let ended_at = self.record.clock.now();
        let mut state = self.record.state();
        if let Some(write) = self.write_index.and_then(|index| state.writes.get_mut(index)) {
            (write.answer, write.ended_at) = (answer, ended_at);
        }
    }

    pub(super) fn record_result(&mut self, result: &Result<Answer, HttpError>) {
        match result {
            Ok(answer) => {
                let bytes = answer.body.len();
                self.complete_entry(|call| {
                    (call.status, call.bytes, call.error) = (Some(answer.status), bytes, None)
                });
                let mut state = self.record.state();
                state.response_body_bytes = state.response_body_bytes.max(bytes);
            }
            Err(error) => {
                let error = shorten(self.record.redact(error.to_string()));
                self.complete_entry(|call| call.error = Some(error));
            }
        }
    }

    /// Records the result, and returns it as the guest gets it: redacted.
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

    fn complete_entry(&mut self, change: impl FnOnce(&mut OutboundCall)) {
        self.is_ended = true;
        let deadline = self.record.request_deadline;
        let mut state = self.record.state();
        state.missed_deadline |= self.started_at < deadline && Instant::now() >= deadline;
        if let Some(call) = state.calls.get_mut(self.index) {
            call.ms = milliseconds(self.started_at.elapsed());
            change(call);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_ended {
            self.complete_entry(|call| call.error = Some(CANCELLED.to_owned()));
        }
    }
}

/// The number is negative if `to` is earlier than `from`.
fn ms_between(from: Instant, to: Instant) -> i64 {
    let ms = |duration| i64::try_from(milliseconds(duration)).unwrap_or(i64::MAX);
    ms(to.saturating_duration_since(from)) - ms(from.saturating_duration_since(to))
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
