//! The admin's `try`: how far a connection comes, step by step, up to its connector's `check`.

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connector::Run;
use crate::domain::{ConnectionId, Event, EventId, EventKind, Outcome, Received, Refusal};
use crate::store::StoreError;

use super::super::Dispatch;
use super::super::directory::Entry;
use super::{ConnectionError, TryReport, TryStep};

impl Dispatch {
    /// Runs the connector's `check` and says how far it came.
    ///
    /// # Errors
    /// No such connection, or no connector serves it.
    pub async fn try_connection(&self, id: ConnectionId) -> Result<TryReport, ConnectionError> {
        let entry = self.inner.directory.by_id(id);
        let entry = entry.ok_or(ConnectionError::Store(StoreError::NotFound("connection")))?;
        let mut steps = self.reach(&entry).await;
        if steps.iter().any(|step| step.error.is_some()) {
            return Ok(TryReport { steps, reached: None });
        }
        if !entry.problems.is_empty() {
            let error = Some(entry.problems.join("; "));
            steps.push(TryStep { name: "credentials", origin: None, error });
            return Ok(TryReport { steps, reached: None });
        }
        let checked = self.check(&entry).await?;
        let mut step = |name, error| steps.push(TryStep { name, origin: None, error });
        match &checked {
            Ok(_) => {
                step("credentials", None);
                step("project", None);
            }
            Err(refusal @ Refusal::CredentialsRefused(_)) => {
                step("credentials", Some(refusal.to_string()));
            }
            Err(refusal @ Refusal::Rejected(_)) => {
                step("credentials", None);
                step("project", Some(refusal.to_string()));
            }
            // It says nothing about either.
            Err(refusal) => step("check", Some(refusal.to_string())),
        }
        Ok(TryReport { steps, reached: checked.ok() })
    }

    /// The steps towards every granted origin, up to the first that fails.
    async fn reach(&self, entry: &Entry) -> Vec<TryStep> {
        let connection = &entry.access.connection;
        let mut steps = Vec::new();
        for origin in &connection.grants.origins {
            let (private, public) =
                (connection.allow_private, connection.grants.fixed.contains(origin));
            for step in self.inner.parts.egress.probe(origin, private, public).await {
                let failed = step.error.is_some();
                let origin = Some(origin.to_string());
                steps.push(TryStep { name: step.name, origin, error: step.error });
                if failed {
                    return steps;
                }
            }
        }
        steps
    }

    /// Runs `check` as an event of its own. A connector that rests is tried all the same: a person
    /// asks.
    async fn check(&self, entry: &Entry) -> Result<Result<String, Refusal>, ConnectionError> {
        let access = entry.access.clone();
        let connector = self.registry().serving(&access).map_err(ConnectionError::NoConnector)?;
        let (id, received_at, began) = (EventId::fresh(), self.clock().now(), Instant::now());
        let connection = Some(access.connection.id);
        let run = Run { connector, access, stop: CancellationToken::new() };
        let end = self.inner.parts.sandbox.check(run).await;
        self.store().record_event(Event {
            id,
            connection,
            kind: EventKind::Check,
            received_at,
            ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            status: None,
            outcome: end.outcome.as_ref().map_or_else(Outcome::from, |line| Outcome {
                code: "alive".to_owned(),
                detail: line.clone(),
            }),
            request: Received::default(),
            defect: None,
        });
        self.store().record_run(id, end.report);
        Ok(end.outcome)
    }
}
