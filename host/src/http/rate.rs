//! A rate limit for each key: a number per second, and a burst. The number of keys is bounded.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Maximum number of keys. If there are more, the limit forgets the key whose burst is full first.
const KEYS_MAX: usize = 4_096;

/// The rate limit of each key.
#[derive(Debug)]
pub(super) struct Rate<K> {
    limit: RateLimit,
    /// For each key, when its whole burst is available again.
    full_at: Mutex<HashMap<K, Instant>>,
}

/// A number per second, and a burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateLimit {
    interval: Duration,
    burst: u32,
}

impl RateLimit {
    pub(super) fn new(per_s: f64, burst: u32) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / per_s).unwrap_or(Duration::MAX);
        Self { interval, burst: burst.max(1) }
    }

    /// How long a key must wait whose burst is full again at `begin`.
    fn wait(self, begin: Instant, now: Instant) -> Duration {
        let room = self.interval.saturating_mul(self.burst - 1);
        begin.saturating_duration_since(now).saturating_sub(room)
    }
}

impl<K: Eq + Hash + Clone> Rate<K> {
    pub(super) fn new(per_s: f64, burst: u32) -> Self {
        Self { limit: RateLimit::new(per_s, burst), full_at: Mutex::default() }
    }

    /// Counts one use of a key, if the rate allows it.
    ///
    /// # Errors
    /// How long the key must wait until its next use; nothing is counted then.
    pub(super) fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.take_within(self.limit, key, now)
    }

    /// Counts one use of a key, if this limit allows it: the limit may change from use to use.
    ///
    /// # Errors
    /// As for [`Self::take`].
    pub(super) fn take_within(
        &self,
        limit: RateLimit,
        key: &K,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock();
        let begin = full_at.get(key).map_or(now, |at| (*at).max(now));
        let wait = limit.wait(begin, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        if full_at.len() >= KEYS_MAX && !full_at.contains_key(key) {
            full_at.retain(|_, at| *at > now);
            let nearest = full_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            if let Some(nearest) = nearest.filter(|_| full_at.len() >= KEYS_MAX) {
                full_at.remove(&nearest);
            }
        }
        full_at.insert(key.clone(), begin + limit.interval);
        Ok(())
    }

    /// Whether the rate allows a use of the key now, without counting it; if not, how long the key
    /// must wait.
    pub(super) fn check(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let begin = self.full_at.lock().get(key).map_or(now, |at| (*at).max(now));
        let wait = self.limit.wait(begin, now);
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_burst_then_its_rate_and_other_keys_are_not_affected() {
        let rate = Rate::new(20.0, 200);
        let start = Instant::now();
        let taken = (0..1_000).filter(|_| rate.take(&1, start).is_ok()).count();
        assert_eq!(taken, 200);
        let wait = rate.take(&1, start).unwrap_err();
        assert_eq!((wait, rate.check(&1, start)), (Duration::from_millis(50), Err(wait)));
        assert_eq!(rate.take(&2, start), Ok(()));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1_000).filter(|_| rate.take(&1, later).is_ok()).count(), 20);
        assert!(rate.take(&1, start).is_err(), "an older instant gains nothing");
    }

    #[test]
    fn above_the_maximum_keys_are_forgotten_but_not_the_most_used_one() {
        let rate = Rate::new(1.0, 2);
        let now = Instant::now();
        assert!(rate.take(&0, now).is_ok() && rate.take(&0, now).is_ok());
        for key in 1..20_000 {
            let _ = rate.take(&key, now);
        }
        assert!(rate.full_at.lock().len() <= KEYS_MAX);
        assert!(rate.take(&0, now).is_err());
    }
}
