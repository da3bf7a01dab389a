//! What an event does: claim, run, settle; count; look for defects in doubt. Also what an admin does
//! to connections and defects, so that every change passes one place.
//!
//! Never knows axum, SQL or wasmtime. Everything it answers is a value or a [`Refusal`].

mod connections;
mod create;
mod directory;
mod kpis;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use crate::connector::{Access, Registry, Sandbox};
use crate::domain::{
    Clock, ConnectionId, Counts, Decision, Defect, DefectId, DefectRecord, EventId, FailedTest,
    Limits, Refusal, RunnerId,
};
use crate::secret::{Sealer, TokenHash};
use crate::store::{Store, StoreError};

pub use connections::{
    ConnectionEdit, ConnectionError, NewConnection, Shown, TryReport, TryStep, WrongSetting,
};

/// Serves events; cheap to clone.
#[derive(Clone)]
pub struct Dispatch {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
}

/// A created, repeated or adopted defect.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateAnswer {
    /// The defect.
    pub defect: Defect,
    /// Its row.
    pub id: DefectId,
    /// How it came: `created`, `repeated` or `adopted`.
    pub how: &'static str,
}

/// Counts and how old they are.
#[derive(Debug, Clone, PartialEq)]
pub struct KpiAnswer {
    /// The counts.
    pub counts: Counts,
    /// Time since the tracker gave them; zero for fresh ones.
    pub age: Duration,
    /// Whether they are served because the tracker is unavailable.
    pub stale: bool,
}

impl Dispatch {
    /// The connection that a webhook token opens. In memory: no store on the hot path.
    #[must_use]
    pub fn connection_by_token(&self, token: &TokenHash) -> Option<Arc<Access>> {
        todo!()
    }

    /// One Create Defect event: the defect, once, or why not. Answers within the answer deadline;
    /// the run goes on behind it.
    ///
    /// # Errors
    /// Says what stood in the way.
    pub async fn create_defect(
        &self,
        access: &Arc<Access>,
        test: FailedTest,
        event: EventId,
    ) -> Result<CreateAnswer, Refusal> {
        todo!()
    }

    /// One Defect KPIs event, from the cache where it is fresh.
    ///
    /// # Errors
    /// Says what stood in the way.
    pub async fn kpis(
        &self,
        access: &Arc<Access>,
        project: &str,
        event: EventId,
    ) -> Result<KpiAnswer, Refusal> {
        todo!()
    }

    /// Does what a person decided about a defect.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` where its state does not allow it.
    pub async fn decide(
        &self,
        id: DefectId,
        decision: &Decision,
        by: &str,
    ) -> Result<DefectRecord, StoreError> {
        todo!()
    }

    /// The store, for listings that need no rule.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The connectors, for listings.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        todo!()
    }

    /// The clock of this process.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        todo!()
    }
}
