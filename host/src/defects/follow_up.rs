//! Runs the follow-up steps of defects: opens a closed defect again, adds comments, and attaches
//! missing files.
//!
//! This work runs in the background and never delays an answer. Before each step, the connector
//! checks in the tracker whether the step is already done. If the connector cannot check this, the
//! write of the step is sent at most once.

use std::time::Instant;

use futures_util::StreamExt;
use tracing::Instrument as _;

use crate::connections::RunRequester;
use crate::domain::{
    Call, Defect, DueFollowUps, Event, EventId, EventKind, EventStart, FollowUp, FollowUpEnd,
    FollowUpKind, OnRecurrence, Outcome, OutcomeCode, ReceivedRequest, Recurrence, Refusal,
    TimedStepKind, TimedSteps, after, milliseconds, printable,
};
use crate::store::{DueDefect, DueLimits};

use super::Defects;
use super::lease::LeasedDefect;
use super::steps::{DefectSteps, StepResult};

/// Maximum number of defects in one round: in total, and of one connection.
const ROUND_LIMITS: DueLimits = DueLimits { total: 16, per_connection: 4 };
/// Maximum number of defects whose steps run at the same time.
const CONCURRENT_DEFECTS_MAX: usize = 4;
/// Maximum number of attempts at one step. With the pauses between them, these attempts take about
/// half a day.
const ATTEMPTS_MAX: u32 = 20;

impl Defects {
    /// Waits until this process has added follow-up steps.
    pub async fn wait_for_follow_up_steps(&self) {
        self.deps.process_state.follow_up_added.notified().await;
    }

    /// Runs the follow-up steps that are due now, for a limited number of defects.
    pub async fn follow_up(&self) {
        let deps = &self.deps;
        if let Err(error) = deps.restart_waits_if_clock_stepped().await {
            tracing::warn!(%error, "cannot restart the waits of defects after a clock change");
            return;
        }
        let rows_in_work = deps.process_state.rows_in_work();
        match deps.store.due_follow_ups(deps.clock.now(), rows_in_work, ROUND_LIMITS).await {
            Ok(due) => {
                futures_util::stream::iter(due)
                    .for_each_concurrent(CONCURRENT_DEFECTS_MAX, |due| self.follow_up_on(due))
                    .await;
            }
            Err(error) => tracing::warn!(%error, "cannot read the follow-up steps that are due"),
        }
    }

    async fn follow_up_on(&self, DueDefect { id, connection }: DueDefect) {
        let deps = &self.deps;
        let Some(active) = deps.connections.active(connection) else { return };
        let (now, longest_run_ms) = (deps.clock.now(), deps.config.current().longest_run_ms());
        let until = after(now, deps.config.current().lease_ms);
        let event = EventStart { id: EventId::fresh(), received_at: now, arrived: Instant::now() };
        let due = match deps.store.claim_follow_ups(id, now, until, longest_run_ms).await {
            Ok(Some(due)) => due,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(defect = %id, %error, "cannot claim the follow-up steps of a defect");
                return;
            }
        };
        let claim = event.timed_step(TimedStepKind::Claim, event.arrived, Instant::now());
        // A row is claimed even if no run can start for it, so that the pause before the next
        // attempt at its steps grows.
        let lease = due.lease.clone();
        let Some(connector) = self.connector_or_give_back(&active, &lease).await else { return };
        let leased =
            LeasedDefect::new(deps, active, &connector, lease, event, RunRequester::FollowUp);
        let work = leased.run_steps(&due);
        let outcome = work.instrument(deps.history.span(event.id)).await;
        leased.give_back().await;
        deps.history.record_timed_steps(event, claim.into());
        deps.history.record_end(Event {
            id: event.id,
            connection: Some(connection),
            kind: EventKind::FollowUp,
            received_at: event.received_at,
            ms: milliseconds(event.arrived.elapsed()),
            status: None,
            outcome,
            request: ReceivedRequest::default(),
            defect: Some(id),
        });
    }
}

impl LeasedDefect<'_> {
    /// Returns the defect of an earlier failure, if this defect is still open or may be opened
    /// again.
    pub(super) async fn earlier_defect_if_open(
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
        Ok(current.filter(|current| current.is_open || reopens).map(|current| current.defect))
    }

    /// Runs the steps in order. Returns the outcome of the last step that was not done, or
    /// `followed-up` if all were done. If the store fails, runs no further step, and returns the
    /// refusal of the store.
    async fn run_steps(&self, due: &DueFollowUps) -> Outcome {
        let steps = DefectSteps::start(self, due).await;
        let (mut outcome, mut comment_waits) = (Outcome::from(OutcomeCode::FollowedUp), false);
        let mut stores = TimedSteps::default();
        for step in &due.steps {
            if step.kind == FollowUpKind::Comment && comment_waits {
                continue;
            }
            let StepResult { end, code } = match &steps {
                Ok(steps) => steps.run_step(step).await,
                Err(tried) => tried.clone(),
            };
            let end = match end {
                FollowUpEnd::Again { reason, .. } if step.tries >= ATTEMPTS_MAX => {
                    FollowUpEnd::GivenUp(format!(
                        "the step was tried {ATTEMPTS_MAX} times. Last result: {reason}"
                    ))
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
                outcome =
                    Outcome { code, detail: printable(&format!("{}: {why}", step_label(step))) };
            }
            let is_again = matches!(end, FollowUpEnd::Again { .. });
            comment_waits |= is_again && step.kind == FollowUpKind::Reopen;
        }
        self.deps.history.record_timed_steps(self.event, stores);
        outcome
    }
}

fn step_label(step: &FollowUp) -> String {
    match step.kind {
        FollowUpKind::Attach => format!("attach {}", step.name),
        step => step.to_string(),
    }
}
