//! Since when events are kept by their age, and when the clock is not believed: a clock that is set forward must
//! not delete the history.

use std::time::Duration;

use jiff::Timestamp;

/// A step of the clock, or a time without events before a start, after which the clock is not believed at once.
const STEP_MAX: Duration = Duration::from_secs(60 * 60 * 24);
/// How long it is not believed, so that a person can notice and set it.
const DISTRUST: Duration = Duration::from_secs(60 * 60 * 24);

/// Decides since when events are kept.
#[derive(Debug, Default)]
pub(super) struct AgeLimit {
    /// What the wall clock showed at boot, in the last round.
    booted_at: Option<Timestamp>,
    /// Since boot: no event is deleted by its age until then.
    distrusted_until: Option<Duration>,
}

impl AgeLimit {
    /// Events received before this instant are deleted; `None`: none, by their age. `newest` is when the newest
    /// event was received.
    pub(super) fn keep_since(
        &mut self,
        now: Timestamp,
        since_boot: Duration,
        newest: Option<Timestamp>,
        kept: Duration,
    ) -> Option<Timestamp> {
        let booted_at = now.saturating_sub(since_boot).unwrap_or(Timestamp::MIN);
        let believed = match self.booted_at.replace(booted_at) {
            Some(before) => before,
            // The first round: all that is known is when the newest event was received.
            None => newest.unwrap_or(now).saturating_sub(since_boot).unwrap_or(Timestamp::MIN),
        };
        if Duration::try_from(booted_at.duration_since(believed)).is_ok_and(|step| step > STEP_MAX)
        {
            self.distrusted_until = Some(since_boot + DISTRUST);
        }
        if self.distrusted_until.is_some_and(|until| since_boot < until) {
            return None;
        }
        Some(now.saturating_sub(kept).unwrap_or(Timestamp::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const KEPT: Duration = Duration::from_secs(90 * 86_400);

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(day * DAY).unwrap()
    }

    fn boot(days: u64) -> Duration {
        Duration::from_secs(days * 86_400)
    }

    #[test]
    fn events_are_kept_for_as_long_as_configured() {
        let mut limit = AgeLimit::default();
        assert_eq!(limit.keep_since(at(1_000), boot(1), Some(at(1_000)), KEPT), Some(at(910)));
        assert_eq!(limit.keep_since(at(1_001), boot(2), Some(at(1_000)), KEPT), Some(at(911)));
        let mut empty = AgeLimit::default();
        assert_eq!(empty.keep_since(at(1_000), boot(1), None, KEPT), Some(at(910)));
    }

    #[test]
    fn a_clock_that_is_set_forward_deletes_nothing_for_a_day() {
        let mut limit = AgeLimit::default();
        assert!(limit.keep_since(at(1_000), boot(1), Some(at(1_000)), KEPT).is_some());
        assert_eq!(limit.keep_since(at(1_500), boot(1), Some(at(1_000)), KEPT), None);
        assert_eq!(limit.keep_since(at(1_000), boot(1), Some(at(1_000)), KEPT), None);
        assert_eq!(limit.keep_since(at(1_001), boot(2), Some(at(1_001)), KEPT), Some(at(911)));
    }

    #[test]
    fn a_start_long_after_the_newest_event_deletes_nothing_for_a_day() {
        let mut limit = AgeLimit::default();
        assert_eq!(limit.keep_since(at(1_500), boot(3), Some(at(1_000)), KEPT), None);
        assert_eq!(limit.keep_since(at(1_501), boot(4), Some(at(1_501)), KEPT), Some(at(1_411)));
    }
}
