//! Follows the clock of the database. If several servers share the database, this clock decides
//! whether a lease has ended.
//!
//! Between two measurements, the time since the last measurement is read from this machine's
//! monotonic clock. Never reads this machine's wall clock, so a change of that clock does not move
//! the time.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgConnection;
use sqlx::{Error, Row as _};

use crate::domain::{Clock, SystemClock, milliseconds};

/// After this time, the clock is measured again when the writing thread is idle, milliseconds.
const MEASUREMENT_INTERVAL_MS: u64 = 60_000;
/// A writing thread that is never idle measures the clock after a batch, this much later than an
/// idle thread, milliseconds.
const BUSY_DELAY_MS: u64 = 240_000;
/// The longest exchange (a query and its answer) that counts as a measurement, milliseconds. The
/// error of a measurement is at most half of its exchange.
const EXCHANGE_MS_MAX: u64 = 500;
/// The shorter time that replaces `MEASUREMENT_INTERVAL_MS` after a slow exchange, milliseconds.
const RETRY_INTERVAL_MS: u64 = 5_000;
/// Maximum number of attempts at the first measurement.
const FIRST_MEASUREMENT_ATTEMPTS_MAX: u32 = 5;

/// The clock of the database, as this server follows it.
#[derive(Debug, Default)]
pub struct DatabaseClock {
    /// The database's time at the boot of this machine, milliseconds since 1970.
    boot_time_ms: AtomicI64,
    /// From this time, an idle writing thread measures the clock again; milliseconds since the boot
    /// of this machine. 0 if the clock was never measured.
    next_measurement_ms: AtomicU64,
}

impl DatabaseClock {
    /// Reads the database's time, and assumes that the database read its clock in the middle of the
    /// exchange. A slow exchange does not count, because this assumption can then be far from the
    /// truth; an earlier measurement stays in use.
    ///
    /// # Errors
    /// A statement failed, or every exchange was slow and there is no earlier measurement.
    pub(super) async fn measure(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        // Do not prepare the statement: behind a connection pool in transaction mode, a prepared
        // statement could fail here, before the check that reports such a pool.
        let read_time = async || sqlx::raw_sql(sql).fetch_one(&mut *connection).await?.try_get(0);
        self.measure_with(read_time, since_boot_ms).await
    }

    async fn measure_with(
        &self,
        mut read_time: impl AsyncFnMut() -> Result<i64, Error>,
        since_boot_ms: impl Fn() -> u64,
    ) -> Result<(), Error> {
        let was_measured = self.next_measurement_ms.load(Ordering::Relaxed) > 0;
        let attempts = if was_measured { 1 } else { FIRST_MEASUREMENT_ATTEMPTS_MAX };
        for _ in 0..attempts {
            let before = since_boot_ms();
            let database_ms = read_time().await?;
            let after = since_boot_ms();
            let exchange_ms = after.saturating_sub(before);
            if exchange_ms <= EXCHANGE_MS_MAX {
                let middle = before.saturating_add(exchange_ms / 2);
                let boot_time_ms = database_ms.saturating_sub(middle.cast_signed());
                self.boot_time_ms.store(boot_time_ms, Ordering::Relaxed);
                let next_ms = after.saturating_add(MEASUREMENT_INTERVAL_MS);
                self.next_measurement_ms.store(next_ms, Ordering::Relaxed);
                return Ok(());
            }
        }
        if was_measured {
            let next_ms = since_boot_ms().saturating_add(RETRY_INTERVAL_MS);
            self.next_measurement_ms.store(next_ms, Ordering::Relaxed);
            return Ok(());
        }
        let why = format!("it takes longer than {EXCHANGE_MS_MAX} ms to return its time");
        Err(Error::Protocol(why))
    }

    /// Whether the writing thread must measure the clock now. `is_idle`: whether the thread has
    /// nothing to write.
    pub(super) fn needs_measurement(&self, is_idle: bool) -> bool {
        self.is_due_at(since_boot_ms(), is_idle)
    }

    fn is_due_at(&self, now_ms: u64, is_idle: bool) -> bool {
        let next_ms = self.next_measurement_ms.load(Ordering::Relaxed);
        now_ms >= if is_idle { next_ms } else { next_ms.saturating_add(BUSY_DELAY_MS) }
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        let boot_time_ms = self.boot_time_ms.load(Ordering::Relaxed);
        let now = boot_time_ms.saturating_add(since_boot_ms().cast_signed());
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
    async fn a_busy_thread_measures_the_clock_later_than_an_idle_one() {
        let clock = DatabaseClock::default();
        clock.measure_with(async || Ok(1_000_000), || 5_000).await.unwrap();
        let next_ms = 5_000 + MEASUREMENT_INTERVAL_MS;
        assert!(!clock.is_due_at(next_ms - 1, true) && clock.is_due_at(next_ms, true));
        let latest_ms = next_ms + BUSY_DELAY_MS;
        assert!(!clock.is_due_at(latest_ms - 1, false) && clock.is_due_at(latest_ms, false));
    }

    #[tokio::test]
    async fn after_a_slow_exchange_the_last_measurement_stays_in_use() {
        let clock = DatabaseClock::default();
        clock.measure_with(async || Ok(1_000_000), since_boot_ms).await.unwrap();
        assert!(!clock.needs_measurement(true));
        let elapsed_ms = Cell::new(0);
        let slow_exchange = async || {
            elapsed_ms.set(elapsed_ms.get() + EXCHANGE_MS_MAX + 1);
            Ok(9_000_000)
        };
        let time = || since_boot_ms() + elapsed_ms.get();
        clock.measure_with(slow_exchange, time).await.unwrap();
        let now = clock.now().as_millisecond();
        assert!((1_000_000..2_000_000).contains(&now), "{now}");
        assert!(DatabaseClock::default().measure_with(slow_exchange, time).await.is_err());
    }
}
