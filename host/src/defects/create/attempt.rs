//! Runs the attempts of one Create Defect event. Each attempt claims the row of the failed test and
//! does what the state of the row requires.
//!
//! The guest's answer alone never decides the next state of the row. The host's own record of the
//! sent writes also decides.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout_at};

use super::AnswerDeadline;
use crate::connections::RunRequester;
use crate::defects::lease::LeasedDefect;
use crate::defects::search::SearchResult;
use crate::defects::{CreateAnswer, CreateResult, Dependencies};
use crate::domain::{
    Claimed, DefectId, DoubtAction, DoubtfulDefect, EventStart, FailedTest, Lease, LogLevel,
    LogLine, Marker, NotCreated, OnRecurrence, OutcomeCode, Recurrence, Refusal, RowEnd, SearchEnd,
    TimedStepKind, TimedSteps, UnresolvableReason, WriteRecord, after, verdict,
};
use crate::egress::ActiveConnection;
use crate::runtime::{Connector, RunEnd};
use crate::store::{Change, Changes, Claim, StoreError};

/// The first pause before a row is claimed again. The pause doubles, up to `CLAIM_PAUSE_MAX`.
const CLAIM_PAUSE_MIN: Duration = Duration::from_millis(200);
const CLAIM_PAUSE_MAX: Duration = Duration::from_secs(3);
/// Maximum time to wait for the notification that another run has ended. After that the row is
/// claimed again, because the server of that run may have crashed.
const RUN_WAIT_MAX: Duration = Duration::from_secs(2);
/// The value of `Retry-After` in the refusal of an event that must wait for the defect of another
/// failure of the test case, seconds.
const EARLIER_FAILURE_RETRY_AFTER_S: u32 = 5;

/// The result of one attempt.
enum Attempt {
    /// The answer is known.
    Done(CreateResult),
    /// Try again at the instant `at`. `None`: try again after a pause that doubles each time. If
    /// the deadline comes first, the answer is the refusal of this event's own run, or `refusal`.
    Again { refusal: Refusal, at: Option<Timestamp> },
    /// Try again when the run of the row `defect` has ended, or after [`RUN_WAIT_MAX`].
    AfterRun { refusal: Refusal, defect: DefectId },
    /// This event's own run sent a write, but no defect is known; the refusal contains the reason.
    /// Try again, to search for the defect. This refusal is the event's answer, unless the event
    /// still gets a defect.
    SearchAfterWrite(Refusal),
}

/// One Create Defect event in progress.
pub(super) struct CreateEvent<'a> {
    deps: &'a Dependencies,
    active: &'a Arc<ActiveConnection>,
    connector: Arc<Connector>,
    test: &'a FailedTest,
    event: EventStart,
    deadline: AnswerDeadline,
    /// The fence of another event's lease on the row. This event waits for that event's run.
    awaited_fence: Option<i64>,
    /// The times of the claims. The times are recorded once, when the event ends, because each
    /// recording may need an SQL statement.
    pub(super) claim_times: TimedSteps,
}

impl<'a> CreateEvent<'a> {
    pub(super) fn new(
        deps: &'a Dependencies,
        active: &'a Arc<ActiveConnection>,
        connector: Arc<Connector>,
        test: &'a FailedTest,
        event: EventStart,
        deadline: AnswerDeadline,
    ) -> Self {
        let (awaited_fence, claim_times) = Default::default();
        Self { deps, active, connector, test, event, deadline, awaited_fence, claim_times }
    }
}

impl CreateEvent<'_> {
    /// Claims the row of the failed test and does what its state requires. Repeats this until there
    /// is an answer or no time is left.
    pub(super) async fn attempt_until_answered(&mut self) -> CreateResult {
        // The refusal of this event's own run, if that run sent a write.
        let mut own_refusal = None;
        let (mut pause, mut changes) = (CLAIM_PAUSE_MIN, None::<Box<Changes>>);
        loop {
            let (refusal, at) = match self.attempt(own_refusal.as_ref()).await {
                Attempt::Done(Ok(answer)) => return Ok(answer),
                Attempt::Done(Err(refusal)) => return Err(own_refusal.unwrap_or(refusal)),
                Attempt::Again { refusal, at } => (refusal, at),
                Attempt::AfterRun { refusal, defect } => {
                    let latest = self.deadline.wait_until();
                    let until = latest.min(Instant::now() + RUN_WAIT_MAX);
                    match &mut changes {
                        Some(changes) => wait_for_run(changes, defect, until).await,
                        // Claim again before waiting: the run may have ended before the
                        // subscription began.
                        None => changes = Some(Box::new(self.deps.store.subscribe_to_changes())),
                    }
                    if Instant::now() >= latest {
                        return Err(own_refusal.unwrap_or(refusal));
                    }
                    continue;
                }
                Attempt::SearchAfterWrite(refusal) => (own_refusal.insert(refusal).clone(), None),
            };
            let wait = at.map_or(pause, |at| duration_until(at, self.deps.clock.now()));
            if Instant::now() + wait >= self.deadline.at {
                return Err(own_refusal.unwrap_or(refusal));
            }
            sleep(wait).await;
            pause = (pause * 2).min(CLAIM_PAUSE_MAX);
        }
    }

    /// Claims the row once and does what its state requires. `own_refusal` is set if this event's
    /// own run has sent a write.
    async fn attempt(&mut self, own_refusal: Option<&Refusal>) -> Attempt {
        if let Err(error) = self.deps.restart_waits_if_clock_stepped().await {
            return Attempt::Done(Err(Refusal::StoreUnavailable(error.to_string())));
        }
        let (now, rows_in_work) = (self.deps.clock.now(), self.rows_in_work());
        let claim = Claim {
            connection: self.active.connection.id,
            test: self.test.clone(),
            event: self.event.id,
            now,
            lease_until: after(now, self.deps.config.current().lease_ms),
            run_ms: self.deps.connections.limits(&self.active.connection).run_ms,
            awaited_fence: self.awaited_fence,
            rows_in_work_if_recurrence: self.allows_recurrence().then_some(rows_in_work),
        };
        let began = Instant::now();
        let claimed = self.deps.store.claim(claim).await;
        let (began, ended) = (began.into_std(), Instant::now().into_std());
        self.claim_times.add(self.event.timed_step(TimedStepKind::Claim, began, ended));
        match claimed {
            Err(error) => {
                let refusal = Refusal::StoreUnavailable(error.to_string());
                Attempt::Done(
                    answer_with_stored_defect(self.deps, self.active, self.test, refusal).await,
                )
            }
            Ok(Claimed::Created { id, defect }) => {
                Attempt::Done(Ok(CreateAnswer::new(id, defect, OutcomeCode::Repeated)))
            }
            Ok(Claimed::Ended { code, detail }) => {
                Attempt::Done(Err(Refusal::Ended { code, detail }))
            }
            Ok(Claimed::Busy { defect, fence }) => {
                self.awaited_fence = Some(fence);
                Attempt::AfterRun { refusal: self.deadline.refusal(), defect }
            }
            // No write was sent for this row. If this event has sent a write, the write belonged to
            // an earlier row, which a person has released since.
            Ok(Claimed::Create { lease, marker, .. }) => {
                self.create_and_store(self.leased_defect(lease), &marker).await
            }
            // The next branches are rare and their futures are large, so the futures are boxed.
            Ok(Claimed::Recurs(recurrence)) => {
                let leased = self.leased_defect(recurrence.lease.clone());
                Box::pin(self.answer_with_earlier_defect(leased, *recurrence)).await
            }
            Ok(Claimed::WaitsForFirst(first)) => attempt_after_earlier_failure(Some(first)),
            Ok(Claimed::Search(doubtful)) => Box::pin(self.search(&doubtful, own_refusal)).await,
        }
    }

    /// Whether the defect of an earlier failure can be the answer: the policy must not be `new`,
    /// and the connector must export `follow-up`.
    fn allows_recurrence(&self) -> bool {
        self.active.connection.on_recurrence != OnRecurrence::New
            && self.connector.interfaces().exports_follow_up
    }

    /// The rows that this process works on. After a step of the clock, their leases may seem to
    /// have ended, so the claim must know these rows. Empty if a recurrence is not allowed, because
    /// the claim then reads no other rows.
    fn rows_in_work(&self) -> Vec<DefectId> {
        if self.allows_recurrence() { self.deps.process_state.rows_in_work() } else { Vec::new() }
    }

    /// Answers with the defect of an earlier failure. Creates another defect if that defect cannot
    /// be used any more. Refuses if its state cannot be read.
    async fn answer_with_earlier_defect(
        &self,
        leased: LeasedDefect<'_>,
        recurrence: Recurrence,
    ) -> Attempt {
        match leased.earlier_defect_if_open(&recurrence).await {
            Ok(Some(defect)) => {
                let original = recurrence.original;
                let end = RowEnd::Recurs { defect: defect.clone(), original };
                let id = leased.lease.defect;
                match leased.store_outcome(&end).await {
                    Ok(()) => {
                        Attempt::Done(Ok(CreateAnswer::new(id, defect, OutcomeCode::Recurred)))
                    }
                    // The event may still fail, because no write was sent yet. If the event
                    // succeeded now, the comment would be lost.
                    Err(error) => self.attempt_after_store_error(&error),
                }
            }
            Ok(None) => self.create_instead_of_earlier(leased, recurrence).await,
            Err(refusal) => {
                let refusal = Box::new(refusal);
                let refusal = Refusal::EarlierDefect { refusal, first: recurrence.original };
                self.store_not_created(&leased, NotCreated::nothing_sent(refusal)).await
            }
        }
    }

    /// Creates another defect instead of an earlier one. If another failure of the test case
    /// already has or gets a newer defect, this event tries again later.
    async fn create_instead_of_earlier(
        &self,
        leased: LeasedDefect<'_>,
        recurrence: Recurrence,
    ) -> Attempt {
        let Recurrence { marker, latest, .. } = recurrence;
        let (now, rows_in_work) = (self.deps.clock.now(), self.rows_in_work());
        match self.deps.store.allow_create_anew(&leased.lease, latest, &rows_in_work, now).await {
            Ok(true) => self.create_and_store(leased, &marker).await,
            Ok(false) => {
                leased.give_back().await;
                attempt_after_earlier_failure(None)
            }
            Err(error) => self.attempt_after_store_error(&error),
        }
    }

    /// Runs `create`, then stores in the row what follows from the connector's answer and the
    /// host's own record of the run's writes.
    async fn create_and_store(&self, mut leased: LeasedDefect<'_>, marker: &Marker) -> Attempt {
        let run = leased.route_and_create(self.test, marker, self.deadline.read_until()).await;
        let RunEnd { outcome, mut report, writes } = match run {
            Ok(end) => end,
            // `Err` means that no run was started.
            Err(refusal) => {
                return self.store_not_created(&leased, NotCreated::nothing_sent(refusal)).await;
            }
        };
        let was_sent = writes.iter().any(WriteRecord::was_sent);
        if outcome.is_ok() && !was_sent {
            report.log.push(write_not_journaled_warning(report.usage.run_ms));
        }
        self.deps.history.record_run(&leased.active.connection, self.event, report, &outcome);
        match verdict(outcome, &writes) {
            Ok(defect) => {
                if was_sent {
                    let now = self.deps.clock.since_boot();
                    self.deps.process_state.new_records.add_record(
                        &leased.active.connection,
                        marker,
                        now,
                    );
                }
                leased.store_or_retry(RowEnd::Created(defect.clone())).await;
                let id = leased.lease.defect;
                Attempt::Done(Ok(CreateAnswer::new(id, defect, OutcomeCode::Created)))
            }
            Err(not_created) => self.store_not_created(&leased, not_created).await,
        }
    }

    /// Stores that this attempt created no defect, as far as the host knows.
    async fn store_not_created(
        &self,
        leased: &LeasedDefect<'_>,
        not_created: NotCreated,
    ) -> Attempt {
        let stored = leased.store_outcome(&RowEnd::NotCreated(not_created.clone())).await;
        let (was_sent, may_exist) = (not_created.sent.is_some(), not_created.may_exist());
        let refusal = not_created.into_refusal();
        match stored {
            Err(error) if !was_sent => self.attempt_after_store_error(&error),
            Err(StoreError::Fenced) => Attempt::SearchAfterWrite(refusal),
            Ok(()) if may_exist => Attempt::SearchAfterWrite(refusal),
            Ok(()) | Err(_) => Attempt::Done(Err(refusal)),
        }
    }

    /// Searches for a defect in doubt, and creates the defect if the rules allow this. Never
    /// creates the defect if this event's own run has sent a write.
    async fn search(&self, doubtful: &DoubtfulDefect, own_refusal: Option<&Refusal>) -> Attempt {
        let leased = self.leased_defect(doubtful.lease.clone());
        let (next, refusal) = match leased.search(doubtful).await {
            SearchResult::Found(oldest, others) => {
                leased.store_or_retry(RowEnd::Found(oldest.clone())).await;
                let id = leased.lease.defect;
                return Attempt::Done(Ok(CreateAnswer::adopted(id, oldest, others)));
            }
            SearchResult::NotFound(next, refusal) => (next, refusal),
        };
        match next {
            DoubtAction::Create => match own_refusal {
                None => self.create_after_doubt(leased).await,
                Some(refusal) => {
                    leased.end_search(SearchEnd::DoubtEnded).await;
                    Attempt::Done(Err(refusal.clone()))
                }
            },
            DoubtAction::SearchAt(at) => {
                leased.give_back().await;
                self.search_again(&leased, doubtful, at)
            }
            DoubtAction::TryLater => {
                leased.give_back().await;
                Attempt::Done(Err(refusal.unwrap_or_else(|| self.deadline.refusal())))
            }
            DoubtAction::NeedsPerson(why) => {
                let reason = doubtful.reason_with(&why);
                match why {
                    UnresolvableReason::SearchFailed(_) => {
                        leased.end_search(SearchEnd::Failed(why.to_string())).await;
                    }
                    _ => leased.end_search(SearchEnd::NeedsPerson(why.to_string())).await,
                }
                Attempt::Done(Err(Refusal::InDoubt { defect: leased.lease.defect, reason }))
            }
        }
    }

    /// Creates the defect after its doubt has ended. If the failed test has become a recurrence in
    /// the meantime, continues with the defect of the earlier failure.
    async fn create_after_doubt(&self, leased: LeasedDefect<'_>) -> Attempt {
        let (store, now) = (&self.deps.store, self.deps.clock.now());
        let rows_in_work = self.rows_in_work();
        let rows_in_work_if_recurrence =
            self.allows_recurrence().then_some(rows_in_work.as_slice());
        match store.move_back_to_intent(&leased.lease, rows_in_work_if_recurrence, now).await {
            Ok(Claimed::Create { marker, .. }) => self.create_and_store(leased, &marker).await,
            Ok(Claimed::Recurs(recurrence)) => {
                self.answer_with_earlier_defect(leased, *recurrence).await
            }
            Ok(Claimed::WaitsForFirst(first)) => {
                // Give the lease back, so that other failures of the test case do not have to wait
                // for this one.
                leased.end_search(SearchEnd::DoubtEnded).await;
                attempt_after_earlier_failure(Some(first))
            }
            // `move_back_to_intent` never returns these results.
            Ok(
                Claimed::Search(_)
                | Claimed::Created { .. }
                | Claimed::Busy { .. }
                | Claimed::Ended { .. },
            ) => {
                leased.give_back().await;
                Attempt::Again { refusal: self.deadline.refusal(), at: None }
            }
            Err(error) => self.attempt_after_store_error(&error),
        }
    }

    /// Decides when this event tries again. Before the index delay has passed, each search may find
    /// the defect, so the event does not wait until `at`. After that, only a search that begins at
    /// `at` or later can show that there is no defect.
    fn search_again(
        &self,
        leased: &LeasedDefect<'_>,
        doubtful: &DoubtfulDefect,
        at: Timestamp,
    ) -> Attempt {
        let now = self.deps.clock.now();
        let index_delay_ms = leased.search_waits().map_or(0, |waits| waits.index_delay_ms);
        let is_indexed = now >= after(doubtful.doubt.wait_from, index_delay_ms);
        let retry_after_s = seconds_until(at, now).unwrap_or(1);
        let reason = doubtful.reason.clone();
        let refusal = Refusal::OutcomePending { retry_after_s, reason };
        Attempt::Again { refusal, at: is_indexed.then_some(at) }
    }

    fn attempt_after_store_error(&self, error: &StoreError) -> Attempt {
        match error {
            StoreError::Fenced => Attempt::Again { refusal: self.deadline.refusal(), at: None },
            _ => Attempt::Done(Err(Refusal::StoreUnavailable(error.to_string()))),
        }
    }

    fn leased_defect(&self, lease: Lease) -> LeasedDefect<'_> {
        let Self { deps, active, connector, event, .. } = self;
        LeasedDefect::new(deps, Arc::clone(active), connector, lease, *event, RunRequester::Event)
    }
}

/// Answers with the stored defect of the failed test, because no defect can be created now. If no
/// defect is stored, the answer is `refusal`.
pub(super) async fn answer_with_stored_defect(
    deps: &Dependencies,
    active: &ActiveConnection,
    test: &FailedTest,
    refusal: Refusal,
) -> CreateResult {
    match deps.store.created_defect(active.connection.id, test).await {
        Ok(Some((id, defect))) => Ok(CreateAnswer::new(id, defect, OutcomeCode::Repeated)),
        Ok(None) | Err(_) => Err(refusal),
    }
}

/// Waits until the lease on the row `defect` may have been given back or notifications were lost,
/// but not longer than `until`.
async fn wait_for_run(changes: &mut Changes, defect: DefectId, until: Instant) {
    let ended = async {
        loop {
            match changes.next().await {
                Change::Defect(id) if id == defect => return,
                Change::Missed => return,
                _ => {}
            }
        }
    };
    let _ = timeout_at(until, ended).await;
}

/// Returns the result of an attempt that must wait: the defect of another failure of the test case
/// is being created, is in doubt or was created just now.
fn attempt_after_earlier_failure(first: Option<DefectId>) -> Attempt {
    let named = first.map(|id| format!(", defect {id}")).unwrap_or_default();
    let reason = format!("it was for an earlier failure of the same test case{named}");
    let refusal = Refusal::OutcomePending { retry_after_s: EARLIER_FAILURE_RETRY_AFTER_S, reason };
    match first {
        Some(defect) => Attempt::AfterRun { refusal, defect },
        None => Attempt::Again { refusal, at: None },
    }
}

/// Returns the time until `then`; zero if `then` has passed.
fn duration_until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

/// Returns the time until `then` in seconds, rounded up; `None` if `then` has passed.
fn seconds_until(then: Timestamp, now: Timestamp) -> Option<u32> {
    let remaining = then.duration_since(now);
    remaining.is_positive().then(|| {
        u32::try_from(remaining.as_millis().saturating_add(999) / 1_000).unwrap_or(u32::MAX).max(1)
    })
}

fn write_not_journaled_warning(at_ms: u64) -> LogLine {
    let message = "the defect was created without a journaled write. Is its request marked `read` or \
                   `prepare`? Mark it `write`: otherwise a crash may lead to a second defect";
    LogLine { at_ms, level: LogLevel::Warn, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_until_an_instant_is_rounded_up_and_is_none_after_the_instant() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        assert_eq!(seconds_until(at(1_500), at(0)), Some(2));
        assert_eq!(seconds_until(at(1_500), at(1_499)), Some(1));
        assert_eq!(seconds_until(at(1_500), at(1_500)), None);
        assert_eq!(seconds_until(at(1_500), at(9_000)), None);
    }
}
