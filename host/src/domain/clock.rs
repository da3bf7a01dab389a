//! Where the time comes from: the system's clock in the server, a hand-set one in tests.

use jiff::Timestamp;

/// A source of wall-clock time. Deadlines and back-off use the runtime's monotonic timer instead.
pub trait Clock: Send + Sync {
    /// The present instant, UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
