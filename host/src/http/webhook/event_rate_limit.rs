//! Limits how many requests that matched no connection become events: anybody can send those, and each costs
//! a write.

use jiff::Timestamp;
use parking_lot::Mutex;

/// Events per second.
const PER_SECOND: u32 = 50;

/// Counts the events of the current second.
#[derive(Debug, Default)]
pub(in crate::http) struct EventRateLimit {
    second: Mutex<(i64, u32)>,
}

impl EventRateLimit {
    /// Whether one more becomes an event.
    pub(super) fn admits(&self, now: Timestamp) -> bool {
        let mut second = self.second.lock();
        // The counter never goes back to an earlier second: a slow request may carry an older time.
        if second.0 < now.as_second() {
            *second = (now.as_second(), 0);
        }
        second.1 = second.1.saturating_add(1);
        second.1 <= PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_limit() {
        let limit = EventRateLimit::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let kept = (0..100).filter(|_| limit.admits(at(1))).count();
        assert_eq!(kept, 50);
        assert!(limit.admits(at(2)));
        let late = (0..100).filter(|n| limit.admits(at(1 + n % 2))).count();
        assert_eq!(late, 49, "those of the second before count too");
    }
}
