//! What one run sent: every call, every write, kept while they happen so that nothing is missing
//! when a run is cut short.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http::Method;
use tokio::time::Instant;

use crate::domain::{Effect, Origin, OutboundCall, Usage, WriteAnswer, WriteRecord};

use super::HttpError;

/// Longest path and longest reason in the record, characters: a guest chooses both.
const TEXT_MAX: usize = 500;

/// Recorded until a call ends.
const UNDER_WAY: &str = "still under way when the run ended";

/// A call's place in the record.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallId(usize);

/// A write's place in the record.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriteId(usize);

/// The calls and writes of one run.
pub(super) struct Record {
    began: Instant,
    calls_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: Vec<(OutboundCall, Instant)>,
    writes: Vec<WriteRecord>,
    asked: u64,
    request_body_bytes: u64,
    response_body_bytes: u64,
    closed: bool,
}

impl Record {
    pub(super) fn new(calls_max: u64) -> Self {
        Self { began: Instant::now(), calls_max, state: Mutex::default() }
    }

    /// Opens a call. Refused calls count too, so that a loop around one ends.
    pub(super) fn open(&self, method: &Method, effect: Effect) -> Result<CallId, HttpError> {
        let mut state = self.state();
        state.asked = state.asked.saturating_add(1);
        if state.asked > self.calls_max {
            let max = self.calls_max;
            return Err(HttpError::Limit(format!(
                "`limits.outbound_calls` = {max}: the run asked for more requests"
            )));
        }
        let at_ms = millis(self.began);
        let call = OutboundCall {
            at_ms,
            method: method.to_string(),
            origin: String::new(),
            path: String::new(),
            effect,
            status: None,
            ms: 0,
            bytes: 0,
            error: Some(UNDER_WAY.to_owned()),
        };
        state.calls.push((call, Instant::now()));
        Ok(CallId(state.calls.len() - 1))
    }

    /// Notes where a call goes.
    pub(super) fn aim(&self, id: CallId, origin: &Origin, path: &str, body_bytes: usize) {
        let mut state = self.state();
        let bytes = u64::try_from(body_bytes).unwrap_or(u64::MAX);
        state.request_body_bytes = state.request_body_bytes.max(bytes);
        if let Some((call, _)) = state.calls.get_mut(id.0) {
            (call.origin, call.path) = (origin.to_string(), short(path));
        }
    }

    /// Closes a call that was answered.
    pub(super) fn answered(&self, id: CallId, status: u16, body_bytes: usize) {
        let mut state = self.state();
        let bytes = u64::try_from(body_bytes).unwrap_or(u64::MAX);
        state.response_body_bytes = state.response_body_bytes.max(bytes);
        if let Some((call, since)) = state.calls.get_mut(id.0) {
            (call.status, call.bytes, call.ms) = (Some(status), bytes, millis(*since));
            call.error = None;
        }
    }

    /// Closes a call that was refused or failed; the text holds no secret any more.
    pub(super) fn failed(&self, id: CallId, why: &str) {
        if let Some((call, since)) = self.state().calls.get_mut(id.0) {
            (call.ms, call.error) = (millis(*since), Some(short(why)));
        }
    }

    /// Opens a write, of which nothing left yet.
    pub(super) fn open_write(&self, write: WriteRecord) -> Result<WriteId, HttpError> {
        let mut state = self.state();
        // The verdict on the run is being taken: a write after it would be nobody's.
        if state.closed {
            return Err(HttpError::Denied("the run is over".to_owned()));
        }
        state.writes.push(write);
        Ok(WriteId(state.writes.len() - 1))
    }

    /// Notes what came of a write.
    pub(super) fn close_write(&self, id: WriteId, answer: WriteAnswer, now: jiff::Timestamp) {
        if let Some(write) = self.state().writes.get_mut(id.0) {
            (write.answer, write.ended_at) = (answer, now);
        }
    }

    /// Whether any write of this run may have left.
    pub(super) fn any_left(&self) -> bool {
        self.state().writes.iter().any(|write| write.answer != WriteAnswer::NotSent)
    }

    /// Lets no further write in.
    pub(super) fn close(&self) {
        self.state().closed = true;
    }

    /// Whether the verdict on the run is being taken.
    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// The record as it stands.
    pub(super) fn copy(&self) -> (Vec<OutboundCall>, Vec<WriteRecord>) {
        let state = self.state();
        (state.calls.iter().map(|(call, _)| call.clone()).collect(), state.writes.clone())
    }

    /// Fills in what was used of the limits that egress keeps.
    pub(super) fn fill(&self, usage: &mut Usage) {
        let state = self.state();
        usage.outbound_calls = state.asked.min(self.calls_max);
        usage.request_body_bytes = state.request_body_bytes;
        usage.response_body_bytes = state.response_body_bytes;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a write's record says from the moment its first byte may leave until its answer is whole.
pub(super) fn under_way() -> WriteAnswer {
    WriteAnswer::Broken(UNDER_WAY.to_owned())
}

fn short(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
