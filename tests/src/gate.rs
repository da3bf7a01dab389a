//! Holds requests to a scripted server, or the answers of this server, until the test opens a gate.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

const HOLD_TIMEOUT: Duration = Duration::from_secs(120);
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(60);

/// A gate, which is closed until [`Self::open`] is called.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    arrived_count: usize,
    is_open: bool,
    /// Whether a request has passed the closed gate after [`HOLD_TIMEOUT`]. Then the result of the
    /// test has no meaning.
    has_timed_out: bool,
}

impl Gate {
    /// Blocks the calling thread until the gate is open, or for two minutes. After a timeout, the
    /// test's next call of [`Self::open`] or [`Self::await_held`] panics.
    pub fn hold(&self) {
        let (lock, changed) = &*self.0;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        state.arrived_count += 1;
        changed.notify_all();
        let (mut state, timeout) = changed
            .wait_timeout_while(state, HOLD_TIMEOUT, |state| !state.is_open)
            .unwrap_or_else(PoisonError::into_inner);
        state.has_timed_out |= timeout.timed_out();
    }

    /// Returns how many requests have reached the gate so far, before and after it was opened.
    #[must_use]
    pub fn arrived_count(&self) -> usize {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).arrived_count
    }

    /// Opens the gate for the held requests and for all later requests.
    ///
    /// # Panics
    /// If a request has passed the closed gate after two minutes.
    #[track_caller]
    pub fn open(&self) {
        let (lock, changed) = &*self.0;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_open = true;
        let has_timed_out = state.has_timed_out;
        drop(state);
        changed.notify_all();
        assert!(!has_timed_out, "a request passed the closed gate after {HOLD_TIMEOUT:?}");
    }

    /// Waits until `count` requests have reached the gate.
    ///
    /// # Panics
    /// If the requests do not arrive within a minute, or a request has passed the closed gate after
    /// two minutes.
    #[track_caller]
    pub fn await_held(&self, count: usize) {
        let (lock, changed) = &*self.0;
        let state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, timeout) = changed
            .wait_timeout_while(state, ARRIVAL_TIMEOUT, |state| state.arrived_count < count)
            .unwrap_or_else(PoisonError::into_inner);
        let (held, has_timed_out) = (state.arrived_count, state.has_timed_out);
        drop(state);
        assert!(!has_timed_out, "a request passed the closed gate after {HOLD_TIMEOUT:?}");
        assert!(!timeout.timed_out(), "timeout: {held} of {count} requests reached the gate");
    }
}
