//! Holds requests or answers of a scripted server until a test lets them pass.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Maximum time that a request is held, and that a test waits for a request.
const HOLD_TIMEOUT: Duration = Duration::from_secs(60);

/// A gate, which is closed until [`Self::open`] is called.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    held: usize,
    open: bool,
}

impl Gate {
    /// Blocks the calling thread until the gate is open, at most a minute. For scripts.
    pub fn hold(&self) {
        let (lock, changed) = &*self.0;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        state.held += 1;
        changed.notify_all();
        drop(changed.wait_timeout_while(state, HOLD_TIMEOUT, |state| !state.open));
    }

    /// Returns how many requests have reached the gate.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).held
    }

    /// Opens the gate, for the held requests and for all later ones.
    pub fn open(&self) {
        let (lock, changed) = &*self.0;
        lock.lock().unwrap_or_else(PoisonError::into_inner).open = true;
        changed.notify_all();
    }

    /// Waits until `count` requests have reached the gate.
    ///
    /// # Panics
    /// If the requests do not arrive within a minute.
    #[track_caller]
    pub fn await_held(&self, count: usize) {
        let (lock, changed) = &*self.0;
        let state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, timeout) = changed
            .wait_timeout_while(state, HOLD_TIMEOUT, |state| state.held < count)
            .unwrap_or_else(PoisonError::into_inner);
        let held = state.held;
        drop(state);
        assert!(!timeout.timed_out(), "timeout: {held} of {count} requests reached the gate");
    }
}
