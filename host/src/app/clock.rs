//! The clock of the server: that of the database if several servers share it, so that they agree
//! about leases; else the system's.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{Clock, SystemClock};

/// The system's clock until [`ServerClock::follow`].
#[derive(Default)]
pub(super) struct ServerClock {
    followed: OnceLock<Arc<dyn Clock>>,
}

impl ServerClock {
    /// Shows the time of another clock from now on.
    pub(super) fn follow(&self, clock: Arc<dyn Clock>) {
        let _ = self.followed.set(clock);
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        self.followed.get().map_or_else(|| SystemClock.now(), |clock| clock.now())
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }
}
