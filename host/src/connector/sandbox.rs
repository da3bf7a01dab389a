//! One run: a fresh instance, its limits, its end.

use std::sync::Arc;

use crate::domain::{Refusal, RunReport, WriteRecord};

use super::{Access, Connector};

/// Runs connectors.
pub struct Sandbox {}

/// What a run needs.
pub struct Run {
    /// The version that runs.
    pub connector: Arc<Connector>,
    /// For whom.
    pub access: Arc<Access>,
}

/// What a run came to.
#[derive(Debug)]
pub struct RunEnd<T> {
    /// The guest's answer, or why there is none.
    pub outcome: Result<T, Refusal>,
    /// What the event shows of it.
    pub report: RunReport,
    /// Every write, whatever the guest says.
    pub writes: Vec<WriteRecord>,
}
