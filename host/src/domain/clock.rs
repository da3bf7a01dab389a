//! Time: the clock, and arithmetic with instants and durations.

use std::time::Duration;

use jiff::Timestamp;

/// A source of wall-clock time. Deadlines and back-off use the runtime's monotonic timer instead.
pub trait Clock: Send + Sync {
    /// The current instant, UTC.
    fn now(&self) -> Timestamp;
}

/// The system clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A duration in whole milliseconds.
#[must_use]
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The instant so many milliseconds later.
#[must_use]
pub fn after(now: Timestamp, ms: u64) -> Timestamp {
    now.saturating_add(Duration::from_millis(ms)).unwrap_or(Timestamp::MAX)
}
