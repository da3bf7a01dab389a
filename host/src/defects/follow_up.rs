//! The steps after a create, each done once: a comment when the same test case fails again, and
//! attachments that are missing.
//!
//! Runs in the background and never delays an answer. Each step is looked up in the tracker before
//! it is taken; a step that cannot be looked up is sent at most once.

use std::time::Instant;

use futures_util::StreamExt;
use tracing::Instrument as _;

use crate::connections::Asker;
use crate::domain::{
    Call, Defect, DueFollowUps, Event, EventId, EventKind, EventStart, FollowUp, FollowUpEnd,
    FollowUpStep, OnRecurrence, Outcome, OutcomeCode, Received, Recurrence, Refusal, TimedStepKind,
    TimedSteps, after, milliseconds, printable,
};
use crate::store::{DueDefect, DueLimits};

use super::Defects;
use super::lease::LeasedDefect;
use super::steps::{DefectSteps, StepResult};

/// Maximum number of defects in one round.
const ROUND_MAX: DueLimits = DueLimits { total: 16, per_connection: 4 };
/// Maximum number of defects that are worked on at a time.
const CONCURRENT_MAX: usize = 4;
/// How often a step is tried. With the pauses of the store, this takes about half a day.
const TRIES_MAX: u32 = 20;

impl Defects {
    /// Returns after new steps were added.
    pub async fn follow_up_added(&self) {
        self.deps.process.follow_up.notified().await;
    }

    /// Takes the steps that are due now, of all connections.
    pub async fn follow_up(&self) {
        let deps = &self.deps;
        if let Err(error) = deps.restart_waits_if_clock_stepped().await {
            tracing::warn!(%error, "cannot begin the waits of the defects in doubt again");
            return;
        }
        let open = deps.process.open_rows();
        match deps.store.due_follow_ups(deps.clock.now(), open, ROUND_MAX).await {
            Ok(due) => {
                futures_util::stream::iter(due)
                    .for_each_concurrent(CONCURRENT_MAX, |due| self.follow_up_on(due))
                    .await;
            }
            Err(error) => tracing::warn!(%error, "cannot read the follow-up steps that are due"),
        }
    }

    /// Claims one defect, takes its steps that are due, and records the event.
    async fn follow_up_on(&self, DueDefect { id, connection }: DueDefect) {
        let deps = &self.deps;
        let Some(active) = deps.connections.active(connection) else { return };
        let (now, run_ms) = (deps.clock.now(), deps.config.now().longest_run_ms());
        let until = after(now, deps.config.now().lease_ms);
        let event = EventStart { id: EventId::fresh(), received_at: now, arrived: Instant::now() };
        let due = match deps.store.claim_follow_ups(id, now, until, run_ms).await {
            Ok(Some(due)) => due,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(defect = %id, %error, "cannot claim what follows a created defect");
                return;
            }
        };
        let claim = event.timed_step(TimedStepKind::Claim, event.arrived, Instant::now());
        // Rows without a possible run are claimed too, so that the pause before their next try
        // grows.
        let usable = deps.connections.connector_for(&active.connection);
        let (Ok(connector), false) = (usable, active.connection.paused) else {
            if let Err(error) = deps.store.give_back(&due.lease).await {
                tracing::warn!(defect = %id, %error, "cannot give a lease back");
            }
            return;
        };
        let (lease, asker, open) =
            (due.lease.clone(), Asker::FollowUp, deps.process.open(id).into());
        let (connector, attached) = (&connector, false);
        let leased = LeasedDefect { deps, active, connector, lease, event, asker, open, attached };
        let work = leased.take_steps(&due);
        let outcome = work.instrument(deps.history.span(event.id)).await;
        leased.give_back().await;
        deps.history.record_timed_steps(event, claim.into());
        deps.history.end(Event {
            id: event.id,
            connection: Some(connection),
            kind: EventKind::FollowUp,
            received_at: event.received_at,
            ms: milliseconds(event.arrived.elapsed()),
            status: None,
            outcome,
            request: Received::default(),
            defect: Some(id),
        });
    }
}

impl LeasedDefect<'_> {
    /// The defect of an earlier failure, if it is still open or may be opened again.
    pub(super) async fn still_open(
        &self,
        recurrence: &Recurrence,
    ) -> Result<Option<Defect>, Refusal> {
        let Some(active) = self.in_same_tracker(recurrence.snapshot.as_ref()) else {
            return Ok(None);
        };
        let (sandbox, key) = (&self.deps.sandbox, &recurrence.defect.key);
        let run = |run| sandbox.state(run, key);
        let current = self.run_reads(&active, Call::State, &recurrence.marker, run).await?;
        let reopens = self.active.connection.on_recurrence == OnRecurrence::Reopen;
        Ok(current.filter(|current| current.open || reopens).map(|current| current.defect))
    }

    /// Takes the steps in order. Returns the outcome of the last one that was not done.
    async fn take_steps(&self, due: &DueFollowUps) -> Outcome {
        let steps = DefectSteps::start(self, due).await;
        let (mut outcome, mut comment_waits) = (Outcome::from(OutcomeCode::FollowedUp), false);
        let mut stores = TimedSteps::default();
        for step in &due.steps {
            if step.step == FollowUpStep::Comment && comment_waits {
                continue;
            }
            let StepResult { end, code } = match &steps {
                Ok(steps) => steps.take(step).await,
                Err(tried) => tried.clone(),
            };
            let end = match end {
                FollowUpEnd::Again { reason, .. } if step.tries >= TRIES_MAX => {
                    FollowUpEnd::GivenUp(format!("it was tried {TRIES_MAX} times. Last: {reason}"))
                }
                end => end,
            };
            let (store, now, began) = (&self.deps.store, self.deps.clock.now(), Instant::now());
            let stored = store.end_follow_up(&self.lease, step, end.clone(), now).await;
            stores.add(self.event.timed_step(TimedStepKind::Store, began, Instant::now()));
            if let Err(error) = stored {
                self.deps.history.record_timed_steps(self.event, stores);
                return Outcome::from(&Refusal::StoreUnavailable(error.to_string()));
            }
            if let FollowUpEnd::GivenUp(why) | FollowUpEnd::Again { reason: why, .. } = &end {
                outcome = Outcome { code, detail: printable(&format!("{}: {why}", named(step))) };
            }
            let is_again = matches!(end, FollowUpEnd::Again { .. });
            comment_waits |= is_again && step.step == FollowUpStep::Reopen;
        }
        self.deps.history.record_timed_steps(self.event, stores);
        outcome
    }
}

/// The name of a step, as people read it.
fn named(step: &FollowUp) -> String {
    match step.step {
        FollowUpStep::Attach => format!("attach {}", step.name),
        step => step.to_string(),
    }
}
