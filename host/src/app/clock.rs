//! The clock of the server. With a PostgreSQL database, it shows the time of the database, so that
//! all servers of the database agree about the times of leases. Otherwise it shows the time of the
//! system clock.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{Clock, SystemClock};

/// The system clock, but with the time of another clock after [`ServerClock::follow`].
#[derive(Default)]
pub(super) struct ServerClock {
    followed_clock: OnceLock<Arc<dyn Clock>>,
}

impl ServerClock {
    /// From now on, [`Clock::now`] returns the time of `clock`. A second call has no effect.
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
