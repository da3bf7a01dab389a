//! The times of the steps and runs of an event, in microseconds from the start of the event.
//!
//! This file reads no clock; its callers pass the instants.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{EventId, string_enum};

const STORED_STEPS_MAX: usize = 4;

/// The start of an event, from which the times of its steps and runs are measured.
#[derive(Debug, Clone, Copy)]
pub struct EventStart {
    /// The id of the event.
    pub id: EventId,
    /// The time when the request arrived or the task in the background began.
    pub received_at: Timestamp,
    /// The same time on a monotonic clock.
    pub arrived: Instant,
}

string_enum! {
    /// Work of the host for an event, besides its runs.
    pub enum TimedStepKind {
        /// The claim of the failed test's row.
        Claim = "claim",
        /// Storing the outcome in the row.
        Store = "store",
    }
}

/// One step of an event, with its start and its duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedStep {
    /// The kind of work.
    pub kind: TimedStepKind,
    /// The start of the step, in microseconds from the start of the event.
    pub at_us: u32,
    /// The duration of the step, microseconds.
    pub duration_us: u32,
}

/// The steps of an event: at most 4. If more are added, the first 3 and the last are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimedSteps([Option<TimedStep>; STORED_STEPS_MAX]);

/// When a run reached each of its phases, in microseconds from the start of its event. The times of
/// a run without an event are measured from the instant at which the host prepared the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTimes {
    /// When the run requested its permit.
    pub requested_us: u64,
    /// When the run got its permit and its memory, and began to make its instance; `None` if the
    /// run did not start.
    pub started_us: Option<u64>,
    /// When the instance was complete and the export was called; `None` if there was no instance.
    pub called_us: Option<u64>,
    /// When the run ended.
    pub ended_us: u64,
}

impl EventStart {
    /// Microseconds from the start of the event to `at`.
    #[must_use]
    pub fn us_until(&self, at: Instant) -> u64 {
        microseconds(at.saturating_duration_since(self.arrived))
    }

    /// Makes the step that began and ended at these instants.
    #[must_use]
    pub fn timed_step(&self, kind: TimedStepKind, began: Instant, ended: Instant) -> TimedStep {
        let to_u32 = |us| u32::try_from(us).unwrap_or(u32::MAX);
        let duration_us = to_u32(microseconds(ended.saturating_duration_since(began)));
        TimedStep { kind, at_us: to_u32(self.us_until(began)), duration_us }
    }

    /// The time that is `us` microseconds after the start of the event.
    #[must_use]
    pub fn time_at(&self, us: u64) -> Timestamp {
        let after = Duration::from_micros(us);
        self.received_at.saturating_add(after).unwrap_or(Timestamp::MAX)
    }
}

impl RunTimes {
    /// How long the run waited for its permit, milliseconds. If the run did not start, this is the
    /// time until its end.
    #[must_use]
    pub fn permit_ms(&self) -> u64 {
        self.started_us.unwrap_or(self.ended_us).saturating_sub(self.requested_us) / 1_000
    }
}

impl TimedStep {
    /// The end of the step, in microseconds from the start of the event.
    #[must_use]
    pub fn end_us(&self) -> u64 {
        u64::from(self.at_us) + u64::from(self.duration_us)
    }
}

impl TimedSteps {
    /// Adds a step. If 4 steps are stored, the new step replaces the last of them.
    pub fn add(&mut self, step: TimedStep) {
        let index = self.0.iter().position(Option::is_none).unwrap_or(STORED_STEPS_MAX - 1);
        if let Some(slot) = self.0.get_mut(index) {
            *slot = Some(step);
        }
    }

    /// Whether no step was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The stored steps, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = TimedStep> + '_ {
        self.0.iter().copied().flatten()
    }
}

impl From<TimedStep> for TimedSteps {
    fn from(step: TimedStep) -> Self {
        let mut steps = Self::default();
        steps.add(step);
        steps
    }
}

/// Converts a duration to whole microseconds, rounded down.
#[must_use]
pub fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_there_are_too_many_steps_only_the_first_steps_and_the_last_step_are_stored() {
        let step = |at_us| TimedStep { kind: TimedStepKind::Claim, at_us, duration_us: 1 };
        let mut steps = TimedSteps::default();
        assert!(steps.is_empty());
        (0..9).for_each(|at_us| steps.add(step(at_us)));
        let stored: Vec<_> = steps.iter().map(|step| step.at_us).collect();
        assert_eq!(stored, [0, 1, 2, 8]);
    }

    #[test]
    fn the_start_of_a_step_is_measured_from_the_arrival_of_the_request() {
        let arrived = Instant::now();
        let start = EventStart {
            id: EventId(uuid::Uuid::nil()),
            received_at: Timestamp::UNIX_EPOCH,
            arrived,
        };
        let at = |us| arrived + Duration::from_micros(us);
        let step = start.timed_step(TimedStepKind::Store, at(250), at(1_000));
        assert_eq!((step.at_us, step.duration_us, step.end_us()), (250, 750, 1_000));
        assert_eq!(start.time_at(1_000).as_microsecond(), 1_000);
        assert_eq!(start.us_until(arrived), 0);
    }
}
