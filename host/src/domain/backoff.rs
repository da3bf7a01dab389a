//! The pauses after failed attempts. This file reads no clock; its callers pass the time.

use std::time::{Duration, Instant};

/// Computes the pause after each failed attempt: twice the previous pause, but at most `max`.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    /// The pause after the last failure, and its end; `None` if the last attempt did not fail.
    pause: Option<(Duration, Instant)>,
}

impl Backoff {
    /// Makes a back-off without a failed attempt.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, pause: None }
    }

    /// Begins the pause after a failed attempt. Returns the length of the pause.
    pub fn fail(&mut self, now: Instant) -> Duration {
        let next = self.pause.map_or(self.first, |(last, _)| last.saturating_mul(2));
        let next = next.min(self.max);
        self.pause = Some((next, now.checked_add(next).unwrap_or(now)));
        next
    }

    /// Ends the pause, because an attempt succeeded.
    pub const fn succeed(&mut self) {
        self.pause = None;
    }

    /// The end of the pause after the last failure; `None` if the last attempt did not fail.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.pause.map(|(_, until)| until)
    }

    /// Whether no attempt should be made now.
    #[must_use]
    pub fn is_pausing(&self, now: Instant) -> bool {
        self.until().is_some_and(|until| now < until)
    }

    /// Whether the last attempt failed.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.pause.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_its_maximum_until_an_attempt_succeeds() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(10), seconds(50));
        let now = Instant::now();
        assert!(!backoff.is_pausing(now) && !backoff.has_failed());
        let pauses = [(); 4].map(|()| backoff.fail(now));
        assert_eq!(pauses, [10, 20, 40, 50].map(seconds));
        assert!(backoff.is_pausing(now + seconds(49)) && !backoff.is_pausing(now + seconds(50)));
        assert!(backoff.has_failed());
        backoff.succeed();
        assert!(!backoff.is_pausing(now) && !backoff.has_failed());
        assert_eq!(backoff.fail(now), seconds(10));
    }
}
