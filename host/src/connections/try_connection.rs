//! Tests a connection for `try`, step by step: first the network, then the connector's `check`,
//! last the access to Test Manager.

use std::sync::Arc;
use std::time::Instant;

use tracing::Instrument as _;

use crate::domain::{
    ConnectionId, Event, EventId, EventKind, EventStart, FailedTest, Outcome, OutcomeCode,
    ReceivedRequest, Refusal, TryStep, TryStepResult, milliseconds,
};
use crate::egress::ActiveConnection;
use crate::runtime::RunInput;
use crate::store::StoreError;

use super::{ConnectionError, Connections};

/// The result of each step of a `try`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TryReport {
    /// The steps in order, up to the first one that failed.
    pub steps: Vec<TryStepResult>,
    /// The line that the connector's `check` returned, if it succeeded.
    pub reached: Option<String>,
}

impl Connections {
    /// Connects to every granted origin and runs the connector's `check`. Then tests the access to
    /// Test Manager, if the connection has settings for Test Manager. If `test` is set, also reads
    /// the log of that failed test. Stops after the first step that fails.
    ///
    /// # Errors
    /// The connection does not exist, or no version of its connector can be used.
    pub async fn try_connection(
        &self,
        id: ConnectionId,
        test: Option<&FailedTest>,
    ) -> Result<TryReport, ConnectionError> {
        let entry = self.loaded.by_id(id);
        let entry = entry.ok_or(ConnectionError::Store(StoreError::NotFound("connection")))?;
        let mut steps = self.probe(&entry.active).await;
        if steps.iter().any(|step| step.error.is_some()) {
            return Ok(TryReport { steps, reached: None });
        }
        if !entry.problems.is_empty() {
            let error = Some(entry.problems.join("; "));
            steps.push(TryStepResult { error, ..TryStepResult::of(TryStep::Credentials) });
            return Ok(TryReport { steps, reached: None });
        }
        let checked = self.check(&entry.active).await?;
        match &checked {
            Ok(_) => {
                let counted_in = self.describe_counted_project(&entry.active.connection);
                let note = Some(counted_in).filter(|text| !text.is_empty());
                steps.push(TryStepResult { note, ..TryStepResult::of(TryStep::Check) });
            }
            Err(refusal @ Refusal::CredentialsRefused(_)) => {
                steps.push(failed_step(TryStep::Credentials, refusal));
            }
            // This refusal does not show whether the tracker accepts the credentials.
            Err(refusal) => steps.push(failed_step(TryStep::Check, refusal)),
        }
        if checked.is_ok() {
            let limits = self.limits(&entry.active.connection);
            steps.extend(self.deps.test_manager.try_steps(&entry.active, test, &limits).await);
        }
        Ok(TryReport { steps, reached: checked.ok() })
    }

    async fn probe(&self, active: &ActiveConnection) -> Vec<TryStepResult> {
        let mut steps = Vec::new();
        for origin in &active.connection.grants.origins {
            steps.extend(self.deps.egress.probe(active, origin).await);
            if steps.last().is_some_and(|step: &TryStepResult| step.error.is_some()) {
                break;
            }
        }
        steps
    }

    /// Runs `check` as a separate event. The check runs even if the circuit breaker is open,
    /// because a person waits for the result.
    async fn check(
        &self,
        active: &Arc<ActiveConnection>,
    ) -> Result<Result<String, Refusal>, ConnectionError> {
        let connector = self.deps.plugins.connector_for(&active.connection)?;
        let (id, received_at) = (EventId::fresh(), self.deps.clock.now());
        let event = EventStart { id, received_at, arrived: Instant::now() };
        let trace = || self.deps.history.trace(id);
        let run = RunInput::for_event(connector, Arc::clone(active), event, trace);
        let work = self.deps.sandbox.check(run);
        let end = work.instrument(self.deps.history.span(id)).await;
        let outcome = match &end.outcome {
            Ok(line) => Outcome { code: OutcomeCode::Alive, detail: line.clone() },
            Err(refusal) => Outcome::from(refusal),
        };
        self.deps.history.record_run(&active.connection, event, end.report, &end.outcome);
        self.deps.history.record_end(Event {
            id,
            connection: Some(active.connection.id),
            kind: EventKind::Check,
            received_at,
            ms: milliseconds(event.arrived.elapsed()),
            status: None,
            outcome,
            request: ReceivedRequest::default(),
            defect: None,
        });
        Ok(end.outcome)
    }
}

fn failed_step(step: TryStep, refusal: &Refusal) -> TryStepResult {
    let setting = refusal.setting().map(str::to_owned);
    TryStepResult { error: Some(refusal.to_string()), setting, ..TryStepResult::of(step) }
}
