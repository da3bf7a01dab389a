//! Limits how many requests that matched no connection become events: anybody can send those, and each costs
//! a write.

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

/// Events per second.
const PER_SECOND: u32 = 50;

/// Counts the events of the current second, by a clock that never goes back.
#[derive(Debug, Default)]
pub(in crate::http) struct EventRateLimit {
    second: Mutex<Option<(Instant, u32)>>,
}

impl EventRateLimit {
    /// Whether one more becomes an event.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut second = self.second.lock();
        // A slow request may carry an older instant: it counts in the current second.
        let (began_at, count) = second
            .filter(|(began_at, _)| {
                now.saturating_duration_since(*began_at) < Duration::from_secs(1)
            })
            .unwrap_or((now, 0));
        *second = Some((began_at, count.saturating_add(1)));
        count < PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_limit() {
        let limit = EventRateLimit::default();
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let kept = (0..100).filter(|_| limit.admits(at(1))).count();
        assert_eq!(kept, 50);
        assert!(limit.admits(at(2)));
        let late = (0..100).filter(|n| limit.admits(at(1 + n % 2))).count();
        assert_eq!(late, 49, "those of the second before count too");
    }
}
