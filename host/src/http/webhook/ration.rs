//! How many requests that reached no connection are kept as events: anybody can send those, and each
//! costs a write.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Of one second.
const PER_SECOND: u32 = 50;

/// Counts within the second that it is.
#[derive(Debug, Default)]
pub(in crate::http) struct Ration {
    second: Mutex<(i64, u32)>,
}

impl Ration {
    /// Whether one more is kept.
    pub(super) fn admits(&self, now: Timestamp) -> bool {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        // Never back to a second that is over: a request may have been long on its way.
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
    fn each_second_has_its_own() {
        let ration = Ration::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let kept = (0..100).filter(|_| ration.admits(at(1))).count();
        assert_eq!(kept, 50);
        assert!(ration.admits(at(2)));
        let late = (0..100).filter(|n| ration.admits(at(1 + n % 2))).count();
        assert_eq!(late, 49, "those of the second before count too");
    }
}
