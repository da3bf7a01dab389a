//! The clock of the database, which decides about leases when several servers share it.
//!
//! Counts with this machine's monotonic time since the last measurement, so that a step of this
//! machine's wall clock changes nothing.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgConnection;
use sqlx::{Error, Row as _};

use crate::domain::{Clock, SystemClock, milliseconds};

/// How long a measurement is used.
const MEASURE_MS: u64 = 60_000;
/// The longest exchange that is a measurement, milliseconds; half of it may be the error.
const EXCHANGE_MS_MAX: u64 = 500;
/// After how long a measurement is tried again that a slow exchange made impossible.
const RETRY_MS: u64 = 5_000;
/// How often the first measurement is tried.
const ATTEMPTS: u32 = 5;

/// The clock of the database.
#[derive(Debug, Default)]
pub struct DatabaseClock {
    /// The time of the database when this machine started, milliseconds since 1970.
    at_boot: AtomicI64,
    /// When to measure it again, milliseconds since this machine started; 0: it was never measured.
    due: AtomicU64,
}

impl DatabaseClock {
    /// Asks the database for its time. The answer is taken for that of the middle of the exchange,
    /// so a slow exchange is repeated: the process may have been stopped in the middle of it. If
    /// every exchange is slow, an earlier measurement stays in use; without one, it is an error.
    pub(super) async fn measure(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        // Not as a prepared statement, so that a pool in transaction mode is found.
        let ask = async || sqlx::raw_sql(sql).fetch_one(&mut *connection).await?.try_get(0);
        self.measure_by(ask, since_boot_ms).await
    }

    async fn measure_by(
        &self,
        mut ask: impl AsyncFnMut() -> Result<i64, Error>,
        since_boot_ms: impl Fn() -> u64,
    ) -> Result<(), Error> {
        let is_known = self.due.load(Ordering::Relaxed) > 0;
        let attempts = if is_known { 1 } else { ATTEMPTS };
        for _ in 0..attempts {
            let before = since_boot_ms();
            let at = ask().await?;
            let after = since_boot_ms();
            let took = after.saturating_sub(before);
            if took <= EXCHANGE_MS_MAX {
                let middle = before.saturating_add(took / 2);
                self.at_boot.store(at.saturating_sub(middle.cast_signed()), Ordering::Relaxed);
                self.due.store(after.saturating_add(MEASURE_MS), Ordering::Relaxed);
                return Ok(());
            }
        }
        if is_known {
            self.due.store(since_boot_ms().saturating_add(RETRY_MS), Ordering::Relaxed);
            return Ok(());
        }
        let why = format!("it takes longer than {EXCHANGE_MS_MAX} ms to return its time");
        Err(Error::Protocol(why))
    }

    /// Whether the last measurement was long ago.
    pub(super) fn is_old(&self) -> bool {
        since_boot_ms() >= self.due.load(Ordering::Relaxed)
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        let at_boot = self.at_boot.load(Ordering::Relaxed);
        let now = at_boot.saturating_add(since_boot_ms().cast_signed());
        Timestamp::from_millisecond(now).unwrap_or(Timestamp::MAX)
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }
}

fn since_boot_ms() -> u64 {
    milliseconds(SystemClock.since_boot())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_slow_answer_keeps_the_last_measurement() {
        let clock = DatabaseClock::default();
        clock.measure_by(async || Ok(1_000_000), since_boot_ms).await.unwrap();
        assert!(!clock.is_old());
        let elapsed_ms = Cell::new(0);
        let slow = async || {
            elapsed_ms.set(elapsed_ms.get() + EXCHANGE_MS_MAX + 1);
            Ok(9_000_000)
        };
        let time = || since_boot_ms() + elapsed_ms.get();
        clock.measure_by(slow, time).await.unwrap();
        let now = clock.now().as_millisecond();
        assert!((1_000_000..2_000_000).contains(&now), "{now}");
        assert!(DatabaseClock::default().measure_by(slow, time).await.is_err());
    }
}
