//! Circuit breakers. If the calls of one kind fail for several inputs of a connection in a row, the
//! breaker opens: further calls of this kind are refused for a while, so that other connections
//! have more capacity. Then one trial run decides whether the breaker closes or opens again.
//!
//! A breaker counts only traps and exceeded limits, never failures of a tracker or a person. A
//! breaker counts each input once, so that one failed test that a connector cannot process does not
//! block the others.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::{Call, ConnectionId, ConnectorFault, Refusal};

/// The number of inputs that must fail in a row to open the breaker.
const FAILED_INPUTS_MAX: usize = 5;
/// The time for which a breaker is open the first time. Each further time is twice as long, up to
/// [`OPEN_TIME_MAX`].
const OPEN_TIME_MIN: Duration = Duration::from_secs(10);
const OPEN_TIME_MAX: Duration = Duration::from_secs(300);

/// The caller that asks for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunRequester {
    /// A webhook event. Its sender waits for the answer.
    Event,
    /// Background searches. Background searches never make the trial run of an open breaker.
    Background,
    /// Follow-up steps. Follow-up steps make trial runs themselves, because no event makes the same
    /// kinds of calls.
    FollowUp,
}

/// A breaker that refuses runs, or that waits for a trial run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBreaker {
    /// The kind of call that is refused.
    pub call: Call,
    /// The last trap or exceeded limit, as a text.
    pub reason: String,
    /// How much longer the breaker stays open. Zero: a trial run is awaited or in progress.
    pub remaining: Duration,
}

/// The breakers of all connections.
#[derive(Default)]
pub(super) struct Breakers {
    by_connection: Mutex<HashMap<ConnectionId, ConnectionBreakers>>,
}

/// The breakers of one connection, one for each kind of call. All these breakers belong to the same
/// version of the connector.
#[derive(Default)]
struct ConnectionBreakers {
    /// SHA-256 of this version, hex.
    sha256: String,
    by_call: HashMap<Call, Breaker>,
}

impl Breakers {
    /// Allows a run, or returns a refusal with the time after which to try again. After a change to
    /// another version of the connector, all breakers of the connection are closed.
    pub(super) fn allow(
        &self,
        id: ConnectionId,
        sha256: &str,
        call: Call,
        requester: RunRequester,
        now: Instant,
    ) -> Result<(), Refusal> {
        let mut breakers = self.by_connection.lock();
        let breakers = breakers.entry(id).or_default();
        if breakers.sha256 != sha256 {
            *breakers = ConnectionBreakers { sha256: sha256.to_owned(), by_call: HashMap::new() };
        }
        breakers.by_call.entry(call).or_default().allow(requester, now)
    }

    /// Records how an allowed run ended. `input` is the marker or the project that was passed to
    /// the run.
    pub(super) fn record(
        &self,
        id: ConnectionId,
        call: Call,
        input: &str,
        refusal: Option<&Refusal>,
        now: Instant,
    ) {
        let mut breakers = self.by_connection.lock();
        if let Some(breaker) =
            breakers.get_mut(&id).and_then(|breakers| breakers.by_call.get_mut(&call))
        {
            breaker.record(input, refusal, now);
        }
    }

    pub(super) fn open(&self, id: ConnectionId, now: Instant) -> Vec<OpenBreaker> {
        let breakers = self.by_connection.lock();
        let calls = breakers.get(&id).into_iter().flat_map(|breakers| &breakers.by_call);
        let open = calls.filter_map(|(call, breaker)| {
            let remaining = breaker.open_until?.saturating_duration_since(now);
            Some(OpenBreaker { call: *call, reason: breaker.reason.clone(), remaining })
        });
        open.collect()
    }

    pub(super) fn reset(&self, id: ConnectionId) {
        self.by_connection.lock().remove(&id);
    }
}

/// The breaker of one kind of call of one connection.
#[derive(Debug, Default)]
struct Breaker {
    /// Hashes of the inputs that failed since the last reset; at most [`FAILED_INPUTS_MAX`]. Each
    /// run resets the breaker, unless the run failed by a trap or a limit, or the host stopped or
    /// refused the run.
    failed_inputs: BTreeSet<u64>,
    /// How often the breaker opened since the last reset.
    times_opened: u32,
    /// The end of the time for which the breaker is open; `None` if the breaker is closed.
    open_until: Option<Instant>,
    /// The time at which the last trial run was allowed; `None` if there was none, or if the end of
    /// a run was recorded since then.
    trial_started_at: Option<Instant>,
    /// The last trap or exceeded limit, as a text.
    reason: String,
}

impl Breaker {
    fn allow(&mut self, requester: RunRequester, now: Instant) -> Result<(), Refusal> {
        let Some(until) = self.open_until else { return Ok(()) };
        if now < until {
            return Err(self.refusal(until - now));
        }
        // If the end of a trial run is never recorded, the breaker must not stay open forever.
        let has_trial = self.trial_started_at.is_some_and(|started| now < started + OPEN_TIME_MAX);
        if has_trial || requester == RunRequester::Background {
            return Err(self.refusal(Duration::from_secs(1)));
        }
        self.trial_started_at = Some(now);
        Ok(())
    }

    fn record(&mut self, input: &str, refusal: Option<&Refusal>, now: Instant) {
        use ConnectorFault::{Limit, Trap};
        match refusal {
            Some(Refusal::ConnectorFault(fault @ (Trap(_) | Limit { .. }))) => {
                self.reason = fault.to_string();
                if self.failed_inputs.len() < FAILED_INPUTS_MAX {
                    self.failed_inputs.insert(hash_input(input));
                }
                // A run that began before the breaker opened does not extend the pause, unless a
                // trial run is in progress.
                if self.trial_started_at.take().is_some() || self.open_until.is_none() {
                    self.open_if_too_many_inputs_failed(now);
                }
            }
            Some(
                Refusal::Overloaded
                | Refusal::HostMemoryFull { .. }
                | Refusal::RunStopped
                | Refusal::ShuttingDown,
            ) => {
                self.trial_started_at = None;
            }
            _ => *self = Self::default(),
        }
    }

    fn open_if_too_many_inputs_failed(&mut self, now: Instant) {
        if self.failed_inputs.len() < FAILED_INPUTS_MAX {
            return;
        }
        let length = OPEN_TIME_MIN.saturating_mul(1 << self.times_opened.min(8)).min(OPEN_TIME_MAX);
        self.times_opened = self.times_opened.saturating_add(1);
        self.open_until = Some(now + length);
    }

    fn refusal(&self, remaining: Duration) -> Refusal {
        let retry_after_s =
            u32::try_from(remaining.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
        Refusal::CircuitOpen { reason: self.reason.clone(), retry_after_s }
    }
}

/// Returns the hash of an input, so that the breaker does not store the input itself.
fn hash_input(input: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> Refusal {
        Refusal::ConnectorFault(ConnectorFault::Trap("unreachable".to_owned()))
    }

    fn breaker_opened_at(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for input in ["a", "b", "c", "d", "e"] {
            assert_eq!(breaker.allow(RunRequester::Event, now), Ok(()));
            breaker.record(input, Some(&trap()), now);
        }
        breaker
    }

    #[test]
    fn five_inputs_that_fail_in_a_row_open_the_breaker_until_a_trial_run_succeeds() {
        let start = Instant::now();
        let mut breaker = breaker_opened_at(start);
        assert!(matches!(
            breaker.allow(RunRequester::Event, start),
            Err(Refusal::CircuitOpen { .. })
        ));
        let later = start + OPEN_TIME_MIN;
        assert_eq!(breaker.allow(RunRequester::Event, later), Ok(()));
        assert!(breaker.allow(RunRequester::Event, later).is_err(), "only one trial run");
        breaker.record("f", None, later);
        assert_eq!(breaker.allow(RunRequester::Event, later), Ok(()));
    }

    #[test]
    fn one_input_that_fails_again_and_again_does_not_open_the_breaker() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..20 {
            assert_eq!(breaker.allow(RunRequester::Event, now), Ok(()));
            breaker.record("poisoned", Some(&trap()), now);
        }
        assert_eq!(breaker.allow(RunRequester::Event, now), Ok(()));
    }

    #[test]
    fn a_background_search_never_makes_the_trial_run() {
        let start = Instant::now();
        let mut breaker = breaker_opened_at(start);
        let later = start + OPEN_TIME_MIN;
        assert!(breaker.allow(RunRequester::Background, later).is_err());
        assert_eq!(
            breaker.allow(RunRequester::Event, later),
            Ok(()),
            "the trial run is still available"
        );
        // Events never make the calls of follow-up steps, so follow-up steps make the trial run
        // themselves.
        assert_eq!(breaker_opened_at(start).allow(RunRequester::FollowUp, later), Ok(()));
    }

    #[test]
    fn each_call_has_its_own_breaker_and_a_new_version_starts_with_closed_breakers() {
        let (breakers, now) = (Breakers::default(), Instant::now());
        let id = ConnectionId(uuid::Uuid::nil());
        let allow = |version, call| breakers.allow(id, version, call, RunRequester::Event, now);
        for input in ["a", "b", "c", "d", "e"] {
            assert_eq!(allow("1", Call::Create), Ok(()));
            breakers.record(id, Call::Create, input, Some(&trap()), now);
        }
        assert!(allow("1", Call::Create).is_err());
        assert_eq!(allow("1", Call::Count), Ok(()));
        assert_eq!(allow("1", Call::Find), Ok(()));
        assert_eq!(allow("2", Call::Create), Ok(()));
    }

    #[test]
    fn the_time_for_which_a_breaker_is_open_doubles_up_to_the_maximum() {
        let mut now = Instant::now();
        let mut breaker = breaker_opened_at(now);
        for seconds in [10, 20, 40, 80, 160, 300, 300] {
            let length = Duration::from_secs(seconds);
            let before = now + length - Duration::from_millis(1);
            assert!(breaker.allow(RunRequester::Event, before).is_err());
            now += length;
            assert_eq!(breaker.allow(RunRequester::Event, now), Ok(()), "after {seconds} s");
            breaker.record("a", Some(&trap()), now);
        }
    }

    #[test]
    fn a_rejection_by_the_tracker_resets_the_count_of_failures() {
        let now = Instant::now();
        let mut breaker = Breaker::default();
        for round in 0..20 {
            assert_eq!(breaker.allow(RunRequester::Event, now), Ok(()));
            let refusal =
                if round % 4 == 3 { Refusal::Rejected("no".to_owned().into()) } else { trap() };
            breaker.record(&round.to_string(), Some(&refusal), now);
        }
    }
}
