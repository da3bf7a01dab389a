//! A TCP relay that a test can cut. A cut relay does not forward anything and does not close TCP
//! connections, like a network that loses every packet.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::relay::{BytesHook, ConnectionHooks, start_relay};

/// A relay to a server. Dropping this value cuts the relay.
pub struct CuttableRelay {
    port: u16,
    is_cut: Arc<(Mutex<bool>, Condvar)>,
}

impl CuttableRelay {
    /// Starts a relay to this port of the loopback address.
    #[must_use]
    pub fn to_port(port: u16) -> Self {
        let is_cut = Arc::<(Mutex<bool>, Condvar)>::default();
        let relay_is_cut = Arc::clone(&is_cut);
        let port = start_relay(port, move || {
            await_restored(&relay_is_cut);
            let hook = || -> BytesHook {
                let is_cut = Arc::clone(&relay_is_cut);
                Box::new(move |_| await_restored(&is_cut))
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

    /// Stops the forwarding of bytes, until [`Self::restore`] is called.
    pub fn cut(&self) {
        self.set_cut(true);
    }

    /// Forwards the bytes that arrived while the relay was cut, and all later bytes.
    pub fn restore(&self) {
        self.set_cut(false);
    }

    fn set_cut(&self, is_cut: bool) {
        let (lock, changed) = &*self.is_cut;
        *lock.lock().unwrap_or_else(PoisonError::into_inner) = is_cut;
        changed.notify_all();
    }
}

impl Drop for CuttableRelay {
    fn drop(&mut self) {
        self.cut();
    }
}

fn await_restored(is_cut: &(Mutex<bool>, Condvar)) {
    let (lock, changed) = is_cut;
    let state = lock.lock().unwrap_or_else(PoisonError::into_inner);
    drop(changed.wait_while(state, |is_cut| *is_cut));
}
