//! Defects: one failed test, one defect. `create` has the steps of a Create Defect event; the sweep
//! searches for defects in doubt in the background.
//!
//! Never sees axum, SQL or wasmtime. What it answers is a value or a [`Refusal`].

mod create;
mod index_lag;
mod lease;
mod process;
mod search;
mod single_flight;
mod sweep;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::connections::Connections;
use crate::domain::{
    Clock, Decision, Defect, DefectId, DefectRecord, Outcome, OutcomeCode, Refusal,
};
use crate::runtime::Sandbox;
use crate::store::{Store, StoreError};

use single_flight::SingleFlight;

pub use process::ProcessState;

/// What the work on defects needs; cheap to clone.
#[derive(Clone)]
pub struct Dependencies {
    /// Where the rows of defects are stored.
    pub store: Arc<dyn Store>,
    /// The connections that the defects belong to.
    pub connections: Arc<Connections>,
    /// Runs `create` and `find`.
    pub sandbox: Arc<Sandbox>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The configuration.
    pub config: Arc<Config>,
    /// Tasks that shutdown waits for.
    pub tasks: TaskTracker,
    /// What this process knows beside the store.
    pub process: ProcessState,
}

/// The defects of all connections.
pub struct Defects {
    deps: Dependencies,
    in_flight: SingleFlight,
}

/// A created, repeated or adopted defect.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateAnswer {
    /// The defect.
    pub defect: Defect,
    /// The id of its row.
    pub id: DefectId,
    /// `created`, `repeated`, `adopted` or `second-record`.
    pub how: OutcomeCode,
    /// What the event says beside that.
    pub detail: String,
}

impl CreateAnswer {
    pub(crate) fn new(id: DefectId, defect: Defect, how: OutcomeCode) -> Self {
        Self { defect, id, how, detail: String::new() }
    }

    /// A search found the defect, and perhaps other records of the failed test.
    fn adopted(id: DefectId, defect: Defect, others: Vec<String>) -> Self {
        let Outcome { code, detail } = adoption(&defect.key, &others);
        Self { defect, id, how: code, detail }
    }
}

/// What an event says of an adopted defect. Where the tracker has other records of the failed test,
/// a person decides which one stays.
fn adoption(key: &str, others: &[String]) -> Outcome {
    if others.is_empty() { OutcomeCode::Adopted.into() } else { second_record(key, others) }
}

fn second_record(key: &str, others: &[String]) -> Outcome {
    let others = others.join(", ");
    tracing::warn!(key, others, "the tracker has more than one record of a failed test");
    let detail = format!("the tracker has more than one record: {key} and {others}; close one");
    Outcome { code: OutcomeCode::SecondRecord, detail }
}

/// The answer to one Create Defect event.
pub type Answer = Result<CreateAnswer, Refusal>;

impl Dependencies {
    /// Begins all waits again if the wall clock stepped: it cannot say how long they have lasted.
    /// Returns whether it did.
    async fn restart_waits_after_a_step(&self) -> Result<bool, StoreError> {
        let restart = async || {
            tracing::warn!("the clock was set: the waits of all defects in doubt begin again");
            self.store.restart_waits(self.clock.now(), self.config.longest_run_ms()).await
        };
        self.process.check_clock(&*self.clock, restart).await
    }
}

impl Defects {
    /// No create in progress.
    #[must_use]
    pub fn new(deps: Dependencies) -> Self {
        Self { deps, in_flight: SingleFlight::default() }
    }

    /// Does what a person decided about a defect.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` where its state does not allow it or a run holds it.
    pub async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        by: &str,
    ) -> Result<DefectRecord, StoreError> {
        if self.deps.process.is_open(id) {
            let why = "a run holds this defect; try again when it has ended";
            return Err(StoreError::Conflict(why.to_owned()));
        }
        let run_ms = self.deps.config.longest_run_ms();
        self.deps.store.decide(id, decision, by, self.deps.clock.now(), run_ms).await
    }
}
