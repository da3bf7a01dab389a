//! The story of one Create Defect event: one failed test, one defect.
//!
//! The run is a task of its own: neither a client's disconnect nor the answer deadline ends it. The guest's
//! answer alone never decides: the row moves as the store and the host's own journal of writes allow.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout_at};

use crate::domain::{
    Claimed, Defect, DefectId, Event, EventId, FailedTest, Lease, LogLevel, LogLine, Marker,
    OutcomeCode, Refusal, Verdict, WriteRecord, after, verdict,
};
use crate::egress::ActiveConnection;
use crate::runtime::{Connector, RunEnd};
use crate::store::{Claim, StoreError};

use super::lease::LeasedDefect;
use super::{Answer, CreateAnswer, Defects, Parts};

/// The first wait before a row is claimed again; doubles.
const WAIT_MIN: Duration = Duration::from_millis(200);
/// The longest wait before a row is claimed again.
const WAIT_MAX: Duration = Duration::from_secs(3);

impl Defects {
    /// Answers one Create Defect event: with the defect, or with the reason why there is none. Answers within
    /// the answer deadline; the run goes on after it. `running` is the event as it begins; it is stored
    /// unless the answer is already known, so that an event that a crash cuts off can be found.
    ///
    /// # Errors
    /// Why there is no defect.
    pub async fn create(
        &self,
        active: &Arc<ActiveConnection>,
        test: FailedTest,
        running: Event,
    ) -> Answer {
        let connection = &active.connection;
        let after_ms = self.parts.connections.limits(connection).create_answer_ms;
        let deadline = Instant::now() + Duration::from_millis(after_ms);
        let answer = if connection.paused {
            Err(Refusal::Paused)
        } else {
            match self.parts.store.created_defect(connection.id, &test).await {
                Err(error) => Err(Refusal::StoreUnavailable(error.to_string())),
                Ok(Some((id, defect))) => {
                    Ok(CreateAnswer { defect, id, how: OutcomeCode::Repeated })
                }
                Ok(None) => self.join_or_run(active, test, running, deadline, after_ms).await,
            }
        };
        self.parts.connections.record_answer(connection.id, &answer);
        answer
    }

    /// Waits for the create of this failed test, which is started unless it is in progress.
    async fn join_or_run(
        &self,
        active: &Arc<ActiveConnection>,
        test: FailedTest,
        running: Event,
        deadline: Instant,
        after_ms: u64,
    ) -> Answer {
        let event = running.id;
        self.parts.store.record_event(running);
        let start = || {
            let (parts, active, test) = (self.parts.clone(), Arc::clone(active), test.clone());
            async move { run(&parts, &active, &test, event, deadline, after_ms).await }
        };
        let (mut in_flight, joined) =
            self.in_flight.join_or_start(active.connection.id, &test, &self.parts.tasks, start);
        let answer = match timeout_at(deadline, in_flight.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone(),
            // The deadline passed, or the run panicked.
            Ok(Err(_)) | Err(_) => None,
        };
        let mut answer = answer.unwrap_or(Err(Refusal::DeadlineExceeded { after_ms }))?;
        if joined {
            answer.how = OutcomeCode::Repeated;
        }
        Ok(answer)
    }
}

/// What one attempt came to.
enum Attempt {
    /// The answer is known.
    Done(Answer),
    /// Try again; this is the answer if there is no time left.
    Retry(Refusal),
}

/// Claims the failed test and runs what its row asks for, again until there is an answer or no time.
async fn run(
    parts: &Parts,
    active: &Arc<ActiveConnection>,
    test: &FailedTest,
    event: EventId,
    deadline: Instant,
    after_ms: u64,
) -> Answer {
    // Resolved once: the whole event is served by one version.
    let connector = parts.connections.serving(&active.connection)?;
    if !connector.interfaces().defects {
        let why = format!("`{}` does not export `defects`", active.connection.connector);
        return Err(Refusal::Unsupported(why));
    }
    let run = CreateRun { parts, active, connector, test, event, after_ms };
    let mut wait = WAIT_MIN;
    loop {
        let refusal = match run.attempt().await {
            Attempt::Done(answer) => return answer,
            Attempt::Retry(refusal) => refusal,
        };
        if Instant::now() + wait >= deadline {
            return Err(refusal);
        }
        sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

/// One failed test on its way to its defect.
struct CreateRun<'a> {
    parts: &'a Parts,
    active: &'a Arc<ActiveConnection>,
    connector: Arc<Connector>,
    test: &'a FailedTest,
    event: EventId,
    after_ms: u64,
}

impl CreateRun<'_> {
    async fn attempt(&self) -> Attempt {
        let now = self.parts.clock.now();
        let claim = Claim {
            connection: self.active.connection.id,
            test: self.test,
            event: self.event,
            runner: self.parts.runner,
            now,
            lease_until: after(now, self.parts.config.lease_ms),
            run_ms: self.parts.connections.limits(&self.active.connection).run_ms,
        };
        match self.parts.store.claim(claim).await {
            Err(error) => Attempt::Done(Err(Refusal::StoreUnavailable(error.to_string()))),
            Ok(Claimed::Created { id, defect }) => {
                Attempt::Done(Ok(CreateAnswer { defect, id, how: OutcomeCode::Repeated }))
            }
            Ok(Claimed::Busy) => Attempt::Retry(self.deadline_refusal()),
            Ok(Claimed::Create { lease, marker, .. }) => {
                self.create(&self.leased(lease), &marker).await
            }
            Ok(Claimed::Find { lease, marker, write_ended_at, retry }) => {
                self.find(&self.leased(lease), &marker, write_ended_at, retry).await
            }
        }
    }

    /// Runs `create`, then moves the row as the host's own journal of the run says.
    async fn create(&self, leased: &LeasedDefect<'_>, marker: &Marker) -> Attempt {
        if let Err(refusal) = leased.admit() {
            // No run was started, so nothing was sent.
            return self.store_outcome(leased, Verdict::Failed(refusal)).await;
        }
        let RunEnd { outcome, mut report, writes } = leased.create(self.test, marker).await;
        if outcome.is_ok() && !writes.iter().any(WriteRecord::may_have_acted) {
            report.log.push(write_not_journaled(report.usage.run_ms));
        }
        self.parts.store.record_run(self.event, report);
        self.store_outcome(leased, verdict(outcome, &writes)).await
    }

    /// Searches for a defect in doubt. A person's retry creates it only where a search that began after the
    /// index delay found nothing.
    async fn find(
        &self,
        leased: &LeasedDefect<'_>,
        marker: &Marker,
        write_ended_at: Timestamp,
        retry: bool,
    ) -> Attempt {
        if let Err(refusal) = leased.admit() {
            leased.release().await;
            return Attempt::Done(Err(refusal));
        }
        let index_delay_ms = u64::from(self.connector.manifest().index_delay_s) * 1_000;
        let indexed_at = after(write_ended_at, index_delay_ms);
        let wait_s = seconds_until(indexed_at, self.parts.clock.now());
        let RunEnd { outcome, report, .. } = leased.find(marker).await;
        self.parts.store.record_run(self.event, report);
        let refusal = match outcome {
            Ok(Some(defect)) => {
                return self.answer_created(leased, defect, OutcomeCode::Adopted).await;
            }
            Ok(None) if retry && wait_s.is_none() => {
                return match leased.back_to_intent().await {
                    Ok(()) => self.create(leased, marker).await,
                    Err(error) => self.not_stored(&error, false),
                };
            }
            Ok(None) => None,
            Err(refusal) => Some(refusal),
        };
        leased.release().await;
        let reason = self.reason(leased.lease.defect).await;
        match (wait_s, refusal) {
            (Some(retry_after_s), refusal) if !matches!(refusal, Some(Refusal::Unsupported(_))) => {
                Attempt::Retry(Refusal::OutcomePending { retry_after_s, reason })
            }
            (None, Some(refusal)) if !matches!(refusal, Refusal::Unsupported(_)) => {
                Attempt::Done(Err(refusal))
            }
            // Waiting does not help: the search found nothing, or this connector cannot search.
            _ => Attempt::Done(Err(Refusal::InDoubt { defect: leased.lease.defect, reason })),
        }
    }

    /// Stores what a run came to; the answer follows from the same verdict.
    async fn store_outcome(&self, leased: &LeasedDefect<'_>, verdict: Verdict) -> Attempt {
        match verdict {
            Verdict::Created(defect) => {
                self.answer_created(leased, defect, OutcomeCode::Created).await
            }
            Verdict::Failed(refusal) => {
                match leased.store_outcome(&Verdict::Failed(refusal.clone())).await {
                    Ok(()) => Attempt::Done(Err(refusal)),
                    Err(error) => self.not_stored(&error, false),
                }
            }
            Verdict::InDoubt { ref reason, .. } => match leased.store_outcome(&verdict).await {
                Ok(()) => {
                    let retry_after_s = self.connector.manifest().index_delay_s.clamp(1, 60);
                    let reason = reason.clone();
                    Attempt::Retry(Refusal::OutcomePending { retry_after_s, reason })
                }
                Err(error) => self.not_stored(&error, true),
            },
        }
    }

    async fn answer_created(
        &self,
        leased: &LeasedDefect<'_>,
        defect: Defect,
        how: OutcomeCode,
    ) -> Attempt {
        match leased.store_outcome(&Verdict::Created(defect.clone())).await {
            Ok(()) => Attempt::Done(Ok(CreateAnswer { defect, id: leased.lease.defect, how })),
            Err(error) => self.not_stored(&error, true),
        }
    }

    /// The outcome of a run could not be stored. Where the lease was lost, another runner went on: the next
    /// attempt sees what it came to.
    fn not_stored(&self, error: &StoreError, may_have_acted: bool) -> Attempt {
        match error {
            StoreError::Fenced => Attempt::Retry(self.deadline_refusal()),
            _ if may_have_acted => Attempt::Done(Err(Refusal::OutcomePending {
                retry_after_s: 5,
                reason: format!("its outcome could not be stored: {error}"),
            })),
            _ => Attempt::Done(Err(Refusal::StoreUnavailable(error.to_string()))),
        }
    }

    /// Why the defect is in doubt, for a person.
    async fn reason(&self, id: DefectId) -> String {
        let record = self.parts.store.defect(id).await.ok().flatten();
        let reason = record.and_then(|record| record.reason);
        reason.unwrap_or_else(|| "the host ended while the request was in progress".to_owned())
    }

    fn leased(&self, lease: Lease) -> LeasedDefect<'_> {
        let Self { parts, active, connector, event, .. } = self;
        LeasedDefect { parts, active, connector, lease, event: *event }
    }

    fn deadline_refusal(&self) -> Refusal {
        Refusal::DeadlineExceeded { after_ms: self.after_ms }
    }
}

/// Whole seconds until then; `None` once it has passed.
fn seconds_until(then: Timestamp, now: Timestamp) -> Option<u32> {
    let left = then.duration_since(now);
    left.is_positive().then(|| {
        u32::try_from(left.as_millis().saturating_add(999) / 1_000).unwrap_or(u32::MAX).max(1)
    })
}

fn write_not_journaled(at_ms: u64) -> LogLine {
    let message = "the defect was created without a journaled write. Is its request marked `read` or \
                   `prepare`? Mark it `write`: otherwise a crash may lead to a second defect";
    LogLine { at_ms, level: LogLevel::Warn, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_the_index_is_in_whole_seconds_and_ends() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        assert_eq!(seconds_until(at(1_500), at(0)), Some(2));
        assert_eq!(seconds_until(at(1_500), at(1_499)), Some(1));
        assert_eq!(seconds_until(at(1_500), at(1_500)), None);
        assert_eq!(seconds_until(at(1_500), at(9_000)), None);
    }
}
