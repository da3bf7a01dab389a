//! Defects: one failed test, one defect. `create` is the story of a Create Defect event; the sweep searches
//! for defects in doubt that nobody clicks again.
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
    Clock, Decision, Defect, DefectId, DefectRecord, OutcomeCode, Refusal, RunnerId,
};
use crate::runtime::Sandbox;
use crate::store::{Store, StoreError};

use single_flight::SingleFlight;

pub use process::ProcessState;

/// What the work on defects needs; cheap to clone.
#[derive(Clone)]
pub struct Parts {
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
    /// This process, as leases name it.
    pub runner: RunnerId,
    /// What this process knows beside the store.
    pub process: ProcessState,
}

/// The defects of all connections.
pub struct Defects {
    parts: Parts,
    in_flight: SingleFlight,
}

/// A created, repeated or adopted defect.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateAnswer {
    /// The defect.
    pub defect: Defect,
    /// The id of its row.
    pub id: DefectId,
    /// `created`, `repeated` or `adopted`.
    pub how: OutcomeCode,
}

/// The answer to one Create Defect event.
pub type Answer = Result<CreateAnswer, Refusal>;

impl Parts {
    /// Begins all waits again if the wall clock stepped: it cannot say how long they have lasted. Returns
    /// whether it did.
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
    pub fn new(parts: Parts) -> Self {
        Self { parts, in_flight: SingleFlight::default() }
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
        if self.parts.process.is_open(id) {
            let why = "a run holds this defect; try again when it has ended";
            return Err(StoreError::Conflict(why.to_owned()));
        }
        let run_ms = self.parts.config.longest_run_ms();
        self.parts.store.decide(id, decision, by, self.parts.clock.now(), run_ms).await
    }
}
