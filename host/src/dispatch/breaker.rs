//! Rests a connection whose connector breaks over and over, so that it takes no turns from others.
//!
//! Pure: instants are passed in. Never counts what a tracker or a person did, only broken runs.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Breakage, ConnectionId, Refusal};

use super::lock;

/// Broken runs in a row until the first rest.
const BROKEN_MAX: u32 = 5;
/// The first rest; each further one takes twice as long.
const REST_MIN: Duration = Duration::from_secs(10);
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(300);

/// The breakers of all connections that broke of late.
#[derive(Default)]
pub(super) struct Breakers {
    of: Mutex<HashMap<ConnectionId, (String, Breaker)>>,
}

impl Breakers {
    /// Lets a run start or says how long the connector rests. Another file starts with a clean slate.
    pub(super) fn admit(
        &self,
        id: ConnectionId,
        sha256: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        let mut of = lock(&self.of);
        let entry = of.entry(id).or_default();
        if entry.0 != sha256 {
            *entry = (sha256.to_owned(), Breaker::default());
        }
        entry.1.admit(now)
    }

    /// Notes how an admitted run ended.
    pub(super) fn note(&self, id: ConnectionId, refusal: Option<&Refusal>, now: Instant) {
        if let Some((_, breaker)) = lock(&self.of).get_mut(&id) {
            breaker.note(refusal, now);
        }
    }

    /// Forgets a connection.
    pub(super) fn forget(&self, id: ConnectionId) {
        lock(&self.of).remove(&id);
    }
}

/// One connection's: closed while it has no rest.
#[derive(Debug, Default)]
struct Breaker {
    broken: u32,
    rests: u32,
    rest_until: Option<Instant>,
    /// When the one run after a rest was let through.
    trial: Option<Instant>,
    reason: String,
}

impl Breaker {
    fn admit(&mut self, now: Instant) -> Result<(), Refusal> {
        let Some(until) = self.rest_until else { return Ok(()) };
        if now < until {
            return Err(self.resting(until - now));
        }
        // A trial that never came back must not close the connection for ever.
        if self.trial.is_some_and(|since| now < since + REST_MAX) {
            return Err(self.resting(Duration::from_secs(1)));
        }
        self.trial = Some(now);
        Ok(())
    }

    fn note(&mut self, refusal: Option<&Refusal>, now: Instant) {
        match refusal {
            Some(Refusal::ConnectorBroke(how @ (Breakage::Trap(_) | Breakage::Limit { .. }))) => {
                self.reason = how.to_string();
                self.broken = self.broken.saturating_add(1);
                // Runs that were under way when the rest began do not prolong it.
                if self.trial.take().is_some() || self.rest_until.is_none() {
                    self.rest(now);
                }
            }
            Some(Refusal::HostFull) => self.trial = None,
            _ => *self = Self::default(),
        }
    }

    fn rest(&mut self, now: Instant) {
        if self.broken < BROKEN_MAX {
            return;
        }
        let length = REST_MIN.saturating_mul(1 << self.rests.min(8)).min(REST_MAX);
        self.rests = self.rests.saturating_add(1);
        self.rest_until = Some(now + length);
    }

    fn resting(&self, left: Duration) -> Refusal {
        let retry_after_s = u32::try_from(left.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
        Refusal::Resting { reason: self.reason.clone(), retry_after_s }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> Refusal {
        Refusal::ConnectorBroke(Breakage::Trap("unreachable".to_owned()))
    }

    fn resting_at(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..BROKEN_MAX {
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.note(Some(&trap()), now);
        }
        breaker
    }

    #[test]
    fn five_broken_runs_in_a_row_rest_it_and_one_trial_follows() {
        let start = Instant::now();
        let mut breaker = resting_at(start);
        assert!(matches!(breaker.admit(start), Err(Refusal::Resting { .. })));
        let later = start + REST_MIN;
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err(), "one trial only");
        breaker.note(None, later);
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn rests_double_up_to_the_longest() {
        let mut now = Instant::now();
        let mut breaker = resting_at(now);
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            let length = Duration::from_secs(seconds);
            assert!(breaker.admit(now + length - Duration::from_millis(1)).is_err());
            now += length;
            assert_eq!(breaker.admit(now), Ok(()), "after {seconds} s");
            breaker.note(Some(&trap()), now);
        }
    }

    #[test]
    fn a_plain_refusal_breaks_the_row_of_broken_runs() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for round in 0..20 {
            assert_eq!(breaker.admit(now), Ok(()));
            let refusal = if round % 4 == 3 { Refusal::Rejected("no".to_owned()) } else { trap() };
            breaker.note(Some(&refusal), now);
        }
    }
}
