//! The clock of the server. With a PostgreSQL database, it is the clock of the database, so that
//! all servers of the database agree about the times of leases. Otherwise it is the system clock.
//! This module never sets the system clock.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{Clock, SystemClock};

/// The system clock, or the clock that was passed to [`ServerClock::follow`].
#[derive(Default)]
pub(super) struct ServerClock {
    followed_clock: OnceLock<Arc<dyn Clock>>,
}

impl ServerClock {
    /// Uses the time of another clock from now on. A second call has no effect.
    pub(super) fn follow(&self, clock: Arc<dyn Clock>) {
        let _ = self.followed_clock.set(clock);
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        self.followed_clock.get().map_or_else(|| SystemClock.now(), |clock| clock.now())
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }
}
