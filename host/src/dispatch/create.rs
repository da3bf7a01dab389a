//! Create Defect: one failed test, one defect.
//!
//! Each failed test has at most one flight in this process; equal requests join it. A flight is a
//! task of its own: neither the client's going away nor the answer deadline ends it. What the guest
//! says never decides alone: the row moves as the store and the host's own record of writes allow.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::connector::{Access, Connector, RunEnd};
use crate::domain::{
    Claimed, ConnectionId, Defect, DefectId, EventId, FailedTest, Lease, LogLevel, LogLine, Marker,
    Refusal, Verdict, WriteRecord, verdict,
};
use crate::store::{Claim, StoreError};

use super::held::{Held, after};
use super::{CreateAnswer, Dispatch, lock};

/// The first wait before a row is looked at again; doubles.
const WAIT_MIN: Duration = Duration::from_millis(200);
/// The longest wait before a row is looked at again.
const WAIT_MAX: Duration = Duration::from_secs(3);

type Answer = Result<CreateAnswer, Refusal>;
type FlightKey = (ConnectionId, String, String, String);

/// The flights under way, by failed test.
#[derive(Default)]
pub(super) struct Flights {
    open: Mutex<HashMap<FlightKey, watch::Receiver<Option<Answer>>>>,
}

impl Dispatch {
    /// The answer to a repeat: the defect, where it is known. Reads one row and nothing else; `None`
    /// leads on to [`Self::create_defect`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn known_defect(
        &self,
        access: &Access,
        test: &FailedTest,
    ) -> Result<Option<CreateAnswer>, Refusal> {
        if access.connection.paused {
            return Ok(None);
        }
        let known = self.store().known_defect(access.connection.id, test).await;
        let known = known.map_err(|error| Refusal::StoreDown(error.to_string()))?;
        let answer = known.map(|(id, defect)| CreateAnswer { defect, id, how: "repeated" });
        if answer.is_some() {
            self.note_answer(access, &Ok::<_, Refusal>(()));
        }
        Ok(answer)
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
        let after_ms = self.limits(access).create_answer_ms;
        let deadline = Instant::now() + Duration::from_millis(after_ms);
        if access.connection.paused {
            return Err(Refusal::Paused);
        }
        self.offers_defects(access)?;
        let (mut flight, joined) = self.board(access, test, event, deadline);
        let answer = match timeout_at(deadline, flight.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        let mut answer = answer.unwrap_or(Err(Refusal::Deadline { after_ms }));
        if let (true, Ok(answer)) = (joined, &mut answer) {
            answer.how = "repeated";
        }
        self.note_answer(access, &answer);
        answer
    }

    /// A connector without the interface is refused before anything is claimed. One that is missing
    /// is not: a defect that is known needs none.
    fn offers_defects(&self, access: &Access) -> Result<(), Refusal> {
        match self.registry().serving(access) {
            Ok(connector) if !connector.interfaces().defects => Err(Refusal::Unsupported(format!(
                "`{}` creates no defects",
                access.connection.connector
            ))),
            _ => Ok(()),
        }
    }

    /// Joins the flight of this failed test, or starts it. Says whether it was joined.
    fn board(
        &self,
        access: &Arc<Access>,
        test: FailedTest,
        event: EventId,
        deadline: Instant,
    ) -> (watch::Receiver<Option<Answer>>, bool) {
        let (execution, case, variation) = test.key();
        let key = (access.connection.id, execution, case, variation.to_owned());
        let mut open = lock(&self.inner.flights.open);
        // A closed channel is what a panic leaves behind.
        if let Some(flight) = open.get(&key).filter(|flight| flight.has_changed().is_ok()) {
            return (flight.clone(), true);
        }
        let (tell, flight) = watch::channel(None);
        open.insert(key.clone(), flight.clone());
        let (dispatch, access) = (self.clone(), access.clone());
        self.inner.tasks.spawn(async move {
            let flight = Flight { dispatch: &dispatch, access: &access, test, event, deadline };
            let answer = flight.fly().await;
            lock(&dispatch.inner.flights.open).remove(&key);
            tell.send_replace(Some(answer));
        });
        (flight, false)
    }
}

/// One failed test on its way to its defect.
struct Flight<'a> {
    dispatch: &'a Dispatch,
    access: &'a Arc<Access>,
    test: FailedTest,
    event: EventId,
    /// When nobody waits for the answer any more; a run under way goes on.
    deadline: Instant,
}

/// What a look at the row came to: the answer, or what to answer if there is no time to look again.
type Step = ControlFlow<Answer, Refusal>;

impl Flight<'_> {
    async fn fly(&self) -> Answer {
        let mut wait = WAIT_MIN;
        loop {
            let step = match self.claim().await? {
                Claimed::Created { id, defect } => {
                    return Ok(CreateAnswer { defect, id, how: "repeated" });
                }
                Claimed::Busy { .. } => ControlFlow::Continue(self.late()),
                Claimed::Create { lease, marker, .. } => {
                    self.create(&self.hold(lease), &marker).await
                }
                Claimed::Find { lease, marker, write_ended_at, retry } => {
                    self.find(&self.hold(lease), &marker, write_ended_at, retry).await
                }
            };
            let refusal = match step {
                ControlFlow::Break(answer) => return answer,
                ControlFlow::Continue(refusal) => refusal,
            };
            if Instant::now() + wait >= self.deadline {
                return Err(refusal);
            }
            sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    async fn claim(&self) -> Result<Claimed, Refusal> {
        let now = self.dispatch.clock().now();
        let claim = Claim {
            connection: self.access.connection.id,
            test: &self.test,
            event: self.event,
            runner: self.dispatch.inner.parts.runner,
            now,
            lease_until: after(now, self.dispatch.config().lease_ms),
            run_ms: self.dispatch.limits(self.access).run_ms,
        };
        let claimed = self.dispatch.store().claim(claim).await;
        claimed.map_err(|error| Refusal::StoreDown(error.to_string()))
    }

    async fn create(&self, held: &Held<'_>, marker: &Marker) -> Step {
        let connector = match self.dispatch.admit(self.access) {
            Ok(connector) => connector,
            Err(refusal) => return not_created(held, refusal).await,
        };
        let settle_s = connector.manifest().settle_s;
        let end = held.create(connector, &self.test, marker).await;
        self.conclude(held, end, settle_s).await
    }

    /// Moves the row as the host's own record of the run says.
    async fn conclude(&self, held: &Held<'_>, mut end: RunEnd<Defect>, settle_s: u32) -> Step {
        if end.outcome.is_ok() && !end.writes.iter().any(WriteRecord::may_have_acted) {
            end.report.log.push(unjournalled(end.report.usage.run_ms));
        }
        let verdict = verdict(end.outcome, &end.writes);
        self.dispatch.store().record_run(self.event, end.report);
        match verdict {
            Verdict::Created(defect) => self.known(held, defect, "created").await,
            Verdict::Failed(refusal) => {
                match held.settle(&Verdict::Failed(refusal.clone())).await {
                    Ok(()) => ControlFlow::Break(Err(refusal)),
                    Err(error) => self.not_settled(&error, false),
                }
            }
            Verdict::InDoubt { ref reason, .. } => {
                let reason = reason.clone();
                match held.settle(&verdict).await {
                    Ok(()) => {
                        let retry_after_s = settle_s.clamp(1, 60);
                        ControlFlow::Continue(Refusal::Settling { retry_after_s, reason })
                    }
                    Err(error) => self.not_settled(&error, true),
                }
            }
            Verdict::Unchanged => ControlFlow::Continue(self.late()),
        }
    }

    /// Looks for a defect in doubt. What a person asked to be tried again is created once it is sure that
    /// nothing is there: the look must have begun when the settle time was over.
    async fn find(
        &self,
        held: &Held<'_>,
        marker: &Marker,
        write_ended_at: Timestamp,
        retry: bool,
    ) -> Step {
        let connector = match self.dispatch.admit(self.access) {
            Ok(connector) => connector,
            Err(refusal) => {
                held.leave().await;
                return ControlFlow::Break(Err(refusal));
            }
        };
        let settle_s = connector.manifest().settle_s;
        let settled_at = after(write_ended_at, u64::from(settle_s) * 1_000);
        let settling_s = settling_s(self.dispatch.clock().now(), settled_at);
        let refusal = match self.look(held, connector, marker).await {
            Ok(Some(defect)) => return self.known(held, defect, "adopted").await,
            Ok(None) if retry && settling_s.is_none() => {
                return match held.create_after_all().await {
                    Ok(()) => self.create(held, marker).await,
                    Err(error) => self.not_settled(&error, false),
                };
            }
            Ok(None) => None,
            Err(refusal) => Some(refusal),
        };
        held.leave().await;
        let reason = self.reason(held.lease.defect).await;
        let in_doubt = Refusal::InDoubt { defect: held.lease.defect, reason: reason.clone() };
        match (settling_s, refusal) {
            // Nothing to wait for: this connector never finds anything.
            (_, Some(Refusal::Unsupported(_))) => ControlFlow::Break(Err(in_doubt)),
            (Some(retry_after_s), _) => {
                ControlFlow::Continue(Refusal::Settling { retry_after_s, reason })
            }
            (None, Some(refusal)) => ControlFlow::Break(Err(refusal)),
            (None, None) => ControlFlow::Break(Err(in_doubt)),
        }
    }

    /// Runs `find` and keeps its report.
    async fn look(
        &self,
        held: &Held<'_>,
        connector: Arc<Connector>,
        marker: &Marker,
    ) -> Result<Option<Defect>, Refusal> {
        let end = held.find(connector, marker).await;
        self.dispatch.store().record_run(self.event, end.report);
        end.outcome
    }

    async fn known(&self, held: &Held<'_>, defect: Defect, how: &'static str) -> Step {
        match held.settle(&Verdict::Created(defect.clone())).await {
            Ok(()) => ControlFlow::Break(Ok(CreateAnswer { defect, id: held.lease.defect, how })),
            Err(error) => self.not_settled(&error, true),
        }
    }

    /// A run has ended and its end was not written. A lost lease means that somebody else went on:
    /// look what they made of it.
    fn not_settled(&self, error: &StoreError, may_have_acted: bool) -> Step {
        if matches!(error, StoreError::Fenced) {
            return ControlFlow::Continue(self.late());
        }
        let refusal = if may_have_acted {
            let reason = format!("its end could not be stored: {error}");
            Refusal::Settling { retry_after_s: 5, reason }
        } else {
            Refusal::StoreDown(error.to_string())
        };
        ControlFlow::Break(Err(refusal))
    }

    /// Why the row is in doubt, for a person.
    async fn reason(&self, id: DefectId) -> String {
        let record = self.dispatch.store().defect(id).await.ok().flatten();
        let reason = record.and_then(|record| record.reason);
        reason.unwrap_or_else(|| "the host ended while the request was under way".to_owned())
    }

    fn hold(&self, lease: Lease) -> Held<'_> {
        Held { dispatch: self.dispatch, access: self.access, lease, event: self.event }
    }

    fn late(&self) -> Refusal {
        Refusal::Deadline { after_ms: self.dispatch.limits(self.access).create_answer_ms }
    }
}

/// Gives back a row for which nothing ran.
async fn not_created(held: &Held<'_>, refusal: Refusal) -> Step {
    if let Err(error) = held.settle(&Verdict::Failed(refusal.clone())).await {
        tracing::warn!(defect = %held.lease.defect, %error, "a lease was not given back");
    }
    ControlFlow::Break(Err(refusal))
}

/// Whole seconds until the tracker's search is sure to show the defect; `None` once it is.
fn settling_s(now: Timestamp, settled_at: Timestamp) -> Option<u32> {
    let left = settled_at.duration_since(now);
    left.is_positive().then(|| {
        u32::try_from(left.as_millis().saturating_add(999) / 1_000).unwrap_or(u32::MAX).max(1)
    })
}

fn unjournalled(at_ms: u64) -> LogLine {
    let message = "created without a journalled write: is its request marked `read` or `prepare`? \
                   Mark it `write`, or a crash may make a second defect";
    LogLine { at_ms, level: LogLevel::Warn, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settle_time_is_told_in_whole_seconds_and_ends() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        assert_eq!(settling_s(at(0), at(1_500)), Some(2));
        assert_eq!(settling_s(at(1_499), at(1_500)), Some(1));
        assert_eq!(settling_s(at(1_500), at(1_500)), None);
        assert_eq!(settling_s(at(9_000), at(1_500)), None);
    }
}
