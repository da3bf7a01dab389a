//! Runs the steps of one Create Defect event. For one failed test, at most one defect is created in
//! each generation.
//!
//! Neither a client's disconnect nor the answer deadline stops a create. This process has at most
//! one create in progress for each failed test. Further requests for the same test join that create
//! and get its answer.

mod attempt;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::completion::{InFlight, SharedWork};
use crate::domain::{
    Connection, Event, EventStart, FailedTest, FailedTestKey, OutcomeCode, Refusal,
};
use crate::egress::ActiveConnection;
use crate::runtime::Connector;

use super::{CreateAnswer, CreateResult, Defects, Dependencies};

use attempt::{CreateEvent, answer_with_stored_defect};

/// A wait for another run ends this long before the answer deadline, so that there is time to send
/// a refusal as the answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);
/// Maximum size of the future of a create, bytes. The future is moved into a box, and each move
/// copies the whole future.
const CREATE_FUTURE_BYTES_MAX: usize = 10 << 10;

impl Defects {
    /// Answers one Create Defect event with the defect, or with the reason why there is none.
    /// Answers no later than the answer deadline; a create that has not ended by then continues in
    /// the background. Unless the connection is paused or the answer is in memory, first queues
    /// `event` for the history.
    ///
    /// # Errors
    /// No defect was created or found; the refusal contains the reason.
    pub async fn create(
        &self,
        active: &Arc<ActiveConnection>,
        test: FailedTest,
        event: Event,
        event_start: EventStart,
    ) -> CreateResult {
        let connection = &active.connection;
        let limits = self.deps.connections.limits(connection);
        let deadline = AnswerDeadline::after(limits.create_answer_ms);
        let answer = if connection.paused {
            Err(Refusal::Paused)
        } else {
            match self.deps.store.cached_defect(connection.id, &test) {
                Some((id, defect)) => Ok(CreateAnswer::new(id, defect, OutcomeCode::Repeated)),
                None => self.create_once(active, test, (event, event_start), deadline).await,
            }
        };
        self.deps.connections.record_answer(connection.id, &answer);
        answer
    }

    /// Joins the create of this failed test that is in progress, or starts one. Waits for its
    /// answer until the deadline.
    async fn create_once(
        &self,
        active: &Arc<ActiveConnection>,
        test: FailedTest,
        (event, event_start): (Event, EventStart),
        deadline: AnswerDeadline,
    ) -> CreateResult {
        self.deps.history.record_begin(event);
        let start_create = |key| {
            let (deps, active, test) = (self.deps.clone(), Arc::clone(active), test.clone());
            let creates_in_progress = self.creates_in_progress.clone();
            let span = deps.history.span(event_start.id);
            let work = async move {
                let answer =
                    select_version_and_create(&deps, &active, &test, event_start, deadline).await;
                creates_in_progress.remove(&key);
                answer
            };
            work.instrument(span)
        };
        let key = test.key_in(active.connection.id);
        let shared = self.creates_in_progress.join_or_start(key, &self.deps.tasks, start_create);
        let joined = shared.is_joined();
        // `answer` is `None` if the deadline passed or the create panicked.
        let answer = timeout_at(deadline.at, shared.result()).await.ok().flatten();
        let mut answer = answer.unwrap_or_else(|| Err(deadline.refusal()))?;
        if joined {
            answer.code = OutcomeCode::Repeated;
        }
        Ok(answer)
    }
}

#[derive(Clone, Default)]
pub(super) struct CreatesInProgress {
    by_test: Arc<Mutex<HashMap<FailedTestKey, Option<InFlight<CreateResult>>>>>,
}

impl CreatesInProgress {
    /// Joins the create of this failed test that is in progress, or starts `create`, which must
    /// call [`Self::remove`] at its end.
    fn join_or_start<F>(
        &self,
        key: FailedTestKey,
        tasks: &TaskTracker,
        create: impl FnOnce(FailedTestKey) -> F,
    ) -> SharedWork<CreateResult>
    where
        F: Future<Output = CreateResult> + Send + 'static,
    {
        const {
            assert!(
                size_of::<F>() <= CREATE_FUTURE_BYTES_MAX,
                "the future of a create is too large: move a rare branch of it into a Box"
            );
        }
        let mut by_test = self.by_test.lock();
        let slot = by_test.entry(key.clone()).or_default();
        SharedWork::join_or_start(slot, tasks, || create(key))
    }

    fn remove(&self, key: &FailedTestKey) {
        self.by_test.lock().remove(key);
    }
}

#[derive(Clone, Copy)]
struct AnswerDeadline {
    at: Instant,
    /// The time from the request to the deadline, milliseconds (`create_answer_ms`).
    after_ms: u64,
}

impl AnswerDeadline {
    fn after(after_ms: u64) -> Self {
        Self { at: Instant::now() + Duration::from_millis(after_ms), after_ms }
    }

    fn refusal(self) -> Refusal {
        Refusal::DeadlineExceeded { after_ms: self.after_ms }
    }

    /// Returns the instant until which an event waits for another run.
    fn wait_until(self) -> Instant {
        self.at.checked_sub(ANSWER_MARGIN).unwrap_or(self.at)
    }

    /// Returns the instant until which routing rules and the report may read from Test Manager. The
    /// second half of the time is left for the tracker.
    fn read_until(self) -> Instant {
        let half = Duration::from_millis(self.after_ms / 2);
        self.at.checked_sub(half).unwrap_or(self.at)
    }
}

async fn select_version_and_create(
    deps: &Dependencies,
    active: &Arc<ActiveConnection>,
    test: &FailedTest,
    event_start: EventStart,
    deadline: AnswerDeadline,
) -> CreateResult {
    // The version is selected once, so that all runs of the event use the same version.
    let connector = match defects_connector(deps, &active.connection) {
        Ok(connector) => connector,
        Err(refusal) => return answer_with_stored_defect(deps, active, test, refusal).await,
    };
    let mut create = CreateEvent::new(deps, active, connector, test, event_start, deadline);
    let answer = create.attempt_until_answered().await;
    deps.history.record_timed_steps(event_start, create.claim_times);
    answer
}

fn defects_connector(
    deps: &Dependencies,
    connection: &Connection,
) -> Result<Arc<Connector>, Refusal> {
    let connector = deps.connections.connector_for(connection)?;
    if connector.interfaces().exports_defects {
        return Ok(connector);
    }
    let why = format!("`{}` does not export `defects`", connection.connector);
    Err(Refusal::Unsupported(why.into()))
}
