//! Circuit breakers: a connection whose connector fails repeatedly is not run for a while, so that it takes
//! no capacity from others.
//!
//! Pure: instants are arguments. Counts only failures of the connector, never what a tracker or a person
//! did.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::{ConnectionId, ConnectorFault, Refusal};

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 5;
/// How long it is open first; each time twice as long.
const OPEN_MIN: Duration = Duration::from_secs(10);
/// The longest that it is open.
const OPEN_MAX: Duration = Duration::from_secs(300);

/// The breakers of the connections whose connector ran.
#[derive(Default)]
pub(super) struct Breakers {
    by_connection: Mutex<HashMap<ConnectionId, (String, Breaker)>>,
}

impl Breakers {
    /// Lets a run start, or says how long the breaker stays open. Another version of the connector starts
    /// with a closed breaker.
    pub(super) fn admit(
        &self,
        id: ConnectionId,
        sha256: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        let mut breakers = self.by_connection.lock();
        let (version, breaker) = breakers.entry(id).or_default();
        if version != sha256 {
            sha256.clone_into(version);
            *breaker = Breaker::default();
        }
        breaker.admit(now)
    }

    /// Records how an admitted run ended.
    pub(super) fn record(&self, id: ConnectionId, refusal: Option<&Refusal>, now: Instant) {
        if let Some((_, breaker)) = self.by_connection.lock().get_mut(&id) {
            breaker.record(refusal, now);
        }
    }

    /// Closes the breaker of a connection that was edited or deleted.
    pub(super) fn reset(&self, id: ConnectionId) {
        self.by_connection.lock().remove(&id);
    }
}

/// The breaker of one connection.
#[derive(Debug, Default)]
struct Breaker {
    /// In a row.
    failures: u32,
    /// How often it opened since the last success.
    opened: u32,
    open_until: Option<Instant>,
    /// When the one trial run after the pause was let through.
    trial: Option<Instant>,
    /// The last failure.
    reason: String,
}

impl Breaker {
    fn admit(&mut self, now: Instant) -> Result<(), Refusal> {
        let Some(until) = self.open_until else { return Ok(()) };
        if now < until {
            return Err(self.refusal(until - now));
        }
        // A trial whose end is never recorded must not keep the breaker open for ever.
        if self.trial.is_some_and(|since| now < since + OPEN_MAX) {
            return Err(self.refusal(Duration::from_secs(1)));
        }
        self.trial = Some(now);
        Ok(())
    }

    fn record(&mut self, refusal: Option<&Refusal>, now: Instant) {
        use ConnectorFault::{Limit, Trap};
        match refusal {
            Some(Refusal::ConnectorFault(fault @ (Trap(_) | Limit { .. }))) => {
                self.reason = fault.to_string();
                self.failures = self.failures.saturating_add(1);
                // Runs that were in progress when the breaker opened do not extend the pause.
                if self.trial.take().is_some() || self.open_until.is_none() {
                    self.open(now);
                }
            }
            Some(Refusal::Overloaded | Refusal::HostMemoryFull { .. } | Refusal::RunStopped) => {
                self.trial = None
            }
            _ => *self = Self::default(),
        }
    }

    fn open(&mut self, now: Instant) {
        if self.failures < FAILURES_MAX {
            return;
        }
        let length = OPEN_MIN.saturating_mul(1 << self.opened.min(8)).min(OPEN_MAX);
        self.opened = self.opened.saturating_add(1);
        self.open_until = Some(now + length);
    }

    fn refusal(&self, left: Duration) -> Refusal {
        let retry_after_s = u32::try_from(left.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
        Refusal::CircuitOpen { reason: self.reason.clone(), retry_after_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> Refusal {
        Refusal::ConnectorFault(ConnectorFault::Trap("unreachable".to_owned()))
    }

    fn opened_at(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.record(Some(&trap()), now);
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_one_trial_follows() {
        let start = Instant::now();
        let mut breaker = opened_at(start);
        assert!(matches!(breaker.admit(start), Err(Refusal::CircuitOpen { .. })));
        let later = start + OPEN_MIN;
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err(), "one trial only");
        breaker.record(None, later);
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut now = Instant::now();
        let mut breaker = opened_at(now);
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            let length = Duration::from_secs(seconds);
            assert!(breaker.admit(now + length - Duration::from_millis(1)).is_err());
            now += length;
            assert_eq!(breaker.admit(now), Ok(()), "after {seconds} s");
            breaker.record(Some(&trap()), now);
        }
    }

    #[test]
    fn another_refusal_ends_the_row_of_failures() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for round in 0..20 {
            assert_eq!(breaker.admit(now), Ok(()));
            let refusal = if round % 4 == 3 { Refusal::Rejected("no".to_owned()) } else { trap() };
            breaker.record(Some(&refusal), now);
        }
    }
}
