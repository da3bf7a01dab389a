//! The steps of one Create Defect event: one failed test, one defect.
//!
//! The run always finishes: neither a client's disconnect nor the answer deadline ends it. Each
//! failed test has at most one run in this process: equal requests join it and get its answer.

mod attempt;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::completion::{Flight, InFlight};
use crate::domain::{
    Connection, Event, EventStart, FailedTest, FailedTestKey, OutcomeCode, Refusal,
};
use crate::egress::ActiveConnection;
use crate::runtime::Connector;

use super::{Answer, CreateAnswer, Defects, Dependencies};

use attempt::{CreateEvent, stored_defect};

/// How long before the deadline a wait for another run ends, so that its refusal still is the
/// answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(50);
/// The largest future of a create. It is copied into its box, and into others on the way.
const CREATE_BYTES_MAX: usize = 10 << 10;

impl Defects {
    /// Answers one Create Defect event: with the defect, or with the reason why there is none.
    /// Answers no later than the answer deadline; a run that is not finished then continues. Unless
    /// the answer is already known, `event` is stored before the run starts, so that an event can
    /// be found even if a crash interrupts it.
    ///
    /// # Errors
    /// No defect was created or found, for this reason.
    pub async fn create(
        &self,
        active: &Arc<ActiveConnection>,
        test: FailedTest,
        event: Event,
        start: EventStart,
    ) -> Answer {
        let connection = &active.connection;
        let limits = self.deps.connections.limits(connection);
        let deadline = AnswerDeadline::after(limits.create_answer_ms);
        let answer = if connection.paused {
            Err(Refusal::Paused)
        } else {
            match self.deps.store.known_defect(connection.id, &test) {
                Some((id, defect)) => Ok(CreateAnswer::new(id, defect, OutcomeCode::Repeated)),
                None => self.join_or_start(active, test, (event, start), deadline).await,
            }
        };
        self.deps.connections.record_answer(connection.id, &answer);
        answer
    }

    /// Joins the create of this failed test that is in progress, or starts one. Waits for its
    /// answer.
    async fn join_or_start(
        &self,
        active: &Arc<ActiveConnection>,
        test: FailedTest,
        (event, event_start): (Event, EventStart),
        deadline: AnswerDeadline,
    ) -> Answer {
        self.deps.history.begin(event);
        let start = || {
            let (deps, active, test) = (self.deps.clone(), Arc::clone(active), test.clone());
            let span = deps.history.span(event_start.id);
            let work =
                async move { run_create(&deps, &active, &test, event_start, deadline).await };
            work.instrument(span)
        };
        let key = test.key_in(active.connection.id);
        let flight = self.in_progress.join_or_start(key, &self.deps.tasks, start);
        let joined = flight.is_joined();
        // `None`: the deadline passed, or the run panicked.
        let answer = timeout_at(deadline.at, flight.result()).await.ok().flatten();
        let mut answer = answer.unwrap_or_else(|| Err(deadline.refusal()))?;
        if joined {
            answer.how = OutcomeCode::Repeated;
        }
        Ok(answer)
    }
}

/// The creates in progress, by failed test.
#[derive(Default)]
pub(super) struct InProgress {
    by_test: Arc<Mutex<HashMap<FailedTestKey, Option<InFlight<Answer>>>>>,
}

impl InProgress {
    /// Joins the create of this failed test that is in progress, or starts `create`, which runs to
    /// its end.
    fn join_or_start<F>(
        &self,
        key: FailedTestKey,
        tasks: &TaskTracker,
        create: impl FnOnce() -> F,
    ) -> Flight<Answer>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        const {
            assert!(
                size_of::<F>() <= CREATE_BYTES_MAX,
                "box what is rare in a create: it is copied"
            );
        }
        let mut by_test = self.by_test.lock();
        let slot = by_test.entry(key.clone()).or_default();
        Flight::join_or_start(slot, tasks, || {
            let (all, create) = (Arc::clone(&self.by_test), Box::pin(create()));
            async move {
                let answer = create.await;
                all.lock().remove(&key);
                answer
            }
        })
    }
}

/// The deadline of an event's answer.
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

    /// Until when an event waits for another run.
    fn wait_until(self) -> Instant {
        self.at.checked_sub(ANSWER_MARGIN).unwrap_or(self.at)
    }

    /// Until when the rules and the report may read from Test Manager: half of the time is left for
    /// the tracker.
    fn read_until(self) -> Instant {
        let half = Duration::from_millis(self.after_ms / 2);
        self.at.checked_sub(half).unwrap_or(self.at)
    }
}

/// Selects the version of the connector, and attempts the create. Records when its claims were
/// made.
async fn run_create(
    deps: &Dependencies,
    active: &Arc<ActiveConnection>,
    test: &FailedTest,
    event: EventStart,
    deadline: AnswerDeadline,
) -> Answer {
    // Selected once, so that the whole event uses one version.
    let connector = match defects_connector(deps, &active.connection) {
        Ok(connector) => connector,
        Err(refusal) => return stored_defect(deps, active, test, refusal).await,
    };
    let mut create = CreateEvent::new(deps, active, connector, test, event, deadline);
    let answer = create.attempt_until_answered().await;
    deps.history.record_timed_steps(event, create.claim_times);
    answer
}

/// The version that the connection uses, if it exports `defects`.
fn defects_connector(
    deps: &Dependencies,
    connection: &Connection,
) -> Result<Arc<Connector>, Refusal> {
    let connector = deps.connections.connector_for(connection)?;
    if connector.interfaces().defects {
        return Ok(connector);
    }
    let why = format!("`{}` does not export `defects`", connection.connector);
    Err(Refusal::Unsupported(why.into()))
}
