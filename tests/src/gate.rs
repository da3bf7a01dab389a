//! Holds requests or answers of a scripted server until a test lets them pass.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Maximum time that a request is held.
const HOLD_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum time that a test waits for a request.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(60);

/// A gate, which is closed until [`Self::open`] is called.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    held: usize,
    open: bool,
    /// Whether a request has passed because the time was over. The test did not hold what it meant
    /// to.
    timed_out: bool,
}

impl Gate {
    /// Blocks the calling thread until the gate is open. After two minutes, lets the request pass,
    /// and the next call of the test panics. For scripts.
    pub fn hold(&self) {
        let (lock, changed) = &*self.0;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        state.held += 1;
        changed.notify_all();
        let (mut state, timeout) = changed
            .wait_timeout_while(state, HOLD_TIMEOUT, |state| !state.open)
            .unwrap_or_else(PoisonError::into_inner);
        state.timed_out |= timeout.timed_out();
    }

    /// Returns how many requests have reached the gate.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).held
    }

    /// Opens the gate, for the held requests and for all later ones.
    ///
    /// # Panics
    /// If a request has passed before, because it was held for too long.
    #[track_caller]
    pub fn open(&self) {
        let (lock, changed) = &*self.0;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        state.open = true;
        let timed_out = state.timed_out;
        drop(state);
        changed.notify_all();
        assert!(!timed_out, "a request passed the closed gate after {HOLD_TIMEOUT:?}");
    }

    /// Waits until `count` requests have reached the gate.
    ///
    /// # Panics
    /// If the requests do not arrive within a minute, or one of them was held for too long.
    #[track_caller]
    pub fn await_held(&self, count: usize) {
        let (lock, changed) = &*self.0;
        let state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, timeout) = changed
            .wait_timeout_while(state, ARRIVAL_TIMEOUT, |state| state.held < count)
            .unwrap_or_else(PoisonError::into_inner);
        let (held, timed_out) = (state.held, state.timed_out);
        drop(state);
        assert!(!timed_out, "a request passed the closed gate after {HOLD_TIMEOUT:?}");
        assert!(!timeout.timed_out(), "timeout: {held} of {count} requests reached the gate");
    }
}
