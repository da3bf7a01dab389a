//! Creates defects, at most one for each generation of a failed test. The module `create` runs the
//! steps of a Create Defect event. Three modules work in the background: `sweep` searches for
//! defects in doubt, `follow_up` opens closed defects again and adds comments and attachments, and
//! `index_lag` measures how late a search finds new records.
//!
//! This room never uses axum, SQL or wasmtime.

mod create;
mod follow_up;
mod index_lag;
mod journal;
mod lease;
mod process;
mod search;
mod steps;
mod sweep;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::config::LiveConfig;
use crate::connections::Connections;
use crate::domain::{
    Clock, Decision, Defect, DefectId, DefectRecord, FollowUpKind, Lease, Outcome, OutcomeCode,
    Refusal,
};
use crate::egress::ActiveConnection;
use crate::history::History;
use crate::runtime::{Connector, Sandbox};
use crate::store::{Store, StoreError};

use create::CreatesInProgress;

pub use process::ProcessState;

/// The parts of the server that [`Defects`] uses. Cloning is cheap.
#[derive(Clone)]
pub struct Dependencies {
    /// The store of the defects' rows.
    pub store: Arc<dyn Store>,
    /// Records events and their runs.
    pub history: Arc<History>,
    /// The connections that the defects belong to.
    pub connections: Arc<Connections>,
    /// Runs the exports of the connectors.
    pub sandbox: Arc<Sandbox>,
    /// The wall clock and the time since boot.
    pub clock: Arc<dyn Clock>,
    /// The configuration of the server.
    pub config: Arc<LiveConfig>,
    /// Tasks that shutdown waits for.
    pub tasks: TaskTracker,
    /// The state of this process that the store does not contain.
    pub process_state: ProcessState,
}

/// Creates and follows up on the defects of all connections.
pub struct Defects {
    deps: Dependencies,
    creates_in_progress: CreatesInProgress,
}

/// The answer to a Create Defect event for which a defect was created or found.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateAnswer {
    /// The defect in the answer to Test Manager.
    pub defect: Defect,
    /// The id of the defect's row in the store.
    pub id: DefectId,
    /// `created`, `repeated`, `adopted`, `recurred` or `second-record`.
    pub code: OutcomeCode,
    /// More details for the event; may be empty.
    pub detail: String,
}

impl CreateAnswer {
    pub(crate) fn new(id: DefectId, defect: Defect, code: OutcomeCode) -> Self {
        Self { defect, id, code, detail: String::new() }
    }

    /// Makes the answer for a defect that a search found. `others` are the keys of further records
    /// that the search found for the same failed test.
    fn adopted(id: DefectId, defect: Defect, others: Vec<String>) -> Self {
        let Outcome { code, detail } = adoption_outcome(&defect.key, &others);
        Self { defect, id, code, detail }
    }
}

fn adoption_outcome(key: &str, others: &[String]) -> Outcome {
    if others.is_empty() { OutcomeCode::Adopted.into() } else { second_record_outcome(key, others) }
}

fn second_record_outcome(key: &str, others: &[String]) -> Outcome {
    let others = others.join(", ");
    tracing::warn!(key, others, "the tracker has more than one record of a failed test");
    let detail = format!("the tracker has more than one record: {key} and {others}; close one");
    Outcome { code: OutcomeCode::SecondRecord, detail }
}

/// The answer to one Create Defect event, or the reason why there is no defect.
pub type CreateResult = Result<CreateAnswer, Refusal>;

impl Defects {
    /// Makes an instance without creates in progress.
    #[must_use]
    pub fn new(deps: Dependencies) -> Self {
        Self { deps, creates_in_progress: CreatesInProgress::default() }
    }

    /// Carries out what a person decided about a defect.
    ///
    /// # Errors
    /// `NotFound` if the defect does not exist; `Conflict` if the defect's state does not allow the
    /// decision, or if a run is working on the defect.
    pub async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        by: &str,
    ) -> Result<DefectRecord, StoreError> {
        if self.deps.process_state.is_in_work(id) {
            let why = "a run is working on this defect; try again when the run has ended";
            return Err(StoreError::Conflict(why.to_owned()));
        }
        let steps = match decision {
            Decision::Adopt(_) => self.steps_after_adoption(id).await?,
            Decision::Retry | Decision::GiveUp | Decision::Release => Vec::new(),
        };
        let (now, longest_run_ms) =
            (self.deps.clock.now(), self.deps.config.current().longest_run_ms());
        let decided = self.deps.store.decide(id, decision, &steps, by, now, longest_run_ms).await?;
        self.deps.process_state.follow_up_added.notify_one();
        Ok(decided)
    }

    async fn steps_after_adoption(&self, id: DefectId) -> Result<Vec<FollowUpKind>, StoreError> {
        let connections = &self.deps.connections;
        let record = self.deps.store.defect(id).await?.ok_or(StoreError::NotFound("defect"))?;
        let Some(active) = connections.active(record.connection) else { return Ok(Vec::new()) };
        let connector = connections.connector_for(&active.connection);
        let attaches =
            connector.is_ok_and(|connector| connections.can_attach_files(&active, &connector));
        Ok(if attaches { vec![FollowUpKind::ListAttachments] } else { Vec::new() })
    }

    /// Returns the connector for background work on a leased row. If the connection is paused or
    /// its connector cannot be used, gives the lease back and returns `None`.
    async fn connector_or_give_back(
        &self,
        active: &ActiveConnection,
        lease: &Lease,
    ) -> Option<Arc<Connector>> {
        let connector = self.deps.connections.connector_for(&active.connection);
        if let (Ok(connector), false) = (connector, active.connection.paused) {
            return Some(connector);
        }
        if let Err(error) = self.deps.store.give_back(lease).await {
            tracing::warn!(defect = %lease.defect, %error, "cannot give a lease back");
        }
        None
    }
}
