//! Time: the clock, and arithmetic with instants and durations.

use std::time::Duration;

use jiff::Timestamp;

/// A source of time.
pub trait Clock: Send + Sync {
    /// The current instant, UTC. The wall clock may jump forward or back.
    fn now(&self) -> Timestamp;

    /// The time since the machine started. This time never jumps, and it also advances while the
    /// process is stopped or the machine is suspended.
    fn since_boot(&self) -> Duration;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn since_boot(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::try_from(time).unwrap_or_default()
    }
}

/// Converts a duration to whole milliseconds, rounded down.
#[must_use]
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the instant `ms` milliseconds after `now`, at most [`Timestamp::MAX`].
#[must_use]
pub fn after(now: Timestamp, ms: u64) -> Timestamp {
    now.saturating_add(Duration::from_millis(ms)).unwrap_or(Timestamp::MAX)
}
