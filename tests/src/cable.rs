//! A TCP relay that a test can cut. Then it passes nothing on, and closes nothing, like a network
//! that loses every packet.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::relay::{BytesHook, ConnectionHooks, start_relay};

/// A relay to a server. Dropping it cuts it.
pub struct Cable {
    port: u16,
    is_cut: Arc<(Mutex<bool>, Condvar)>,
}

impl Cable {
    /// Starts a relay to this port of loopback.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn to(port: u16) -> Self {
        let is_cut = Arc::<(Mutex<bool>, Condvar)>::default();
        let cut = Arc::clone(&is_cut);
        let port = start_relay(port, move || {
            await_restored(&cut);
            let hook = || -> BytesHook {
                let cut = Arc::clone(&cut);
                Box::new(move |_| await_restored(&cut))
            };
            ConnectionHooks { from_client: hook(), from_server: hook() }
        });
        Self { port, is_cut }
    }

    /// Returns the port of the relay.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, passes nothing on.
    pub fn cut(&self) {
        self.set(true);
    }

    /// Passes on what was held back, and what follows.
    pub fn restore(&self) {
        self.set(false);
    }

    fn set(&self, cut: bool) {
        let (lock, changed) = &*self.is_cut;
        *lock.lock().unwrap_or_else(PoisonError::into_inner) = cut;
        changed.notify_all();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
    }
}

fn await_restored(is_cut: &(Mutex<bool>, Condvar)) {
    let (lock, changed) = is_cut;
    let state = lock.lock().unwrap_or_else(PoisonError::into_inner);
    drop(changed.wait_while(state, |cut| *cut));
}
