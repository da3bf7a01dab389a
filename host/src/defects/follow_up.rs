//! What follows a create: a comment when the same test case fails again, and attachments that are
//! missing, each once.
//!
//! Runs in the background and never delays an answer. Each step is looked up in the tracker before
//! a write is sent again; a step that cannot be looked up is sent at most once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::connections::Asker;
use crate::domain::{
    Call, ConnectorFault, CurrentDefect, Defect, Doubt, DueFollowUps, Event, EventId, EventKind,
    FollowUp, FollowUpEnd, FollowUpStep, Journal, Marker, Next, OnRecurrence, Outcome, OutcomeCode,
    Received, Recurrence, Refusal, SentWrites, Unresolvable, WriteClass, after, milliseconds,
    printable, sent_writes, was_confirmed,
};
use crate::egress::ActiveConnection;
use crate::runtime::{Run, RunEnd, TestReport};
use crate::store::DueSearch;

use super::Defects;
use super::journal::Purpose;
use super::lease::LeasedDefect;

/// Maximum number of defects in one round: of all connections, and of one.
const ROUND_MAX: (u32, u32) = (16, 4);
/// Maximum number of defects that are worked on at a time.
const CONCURRENT_MAX: usize = 4;
/// How often a step is tried. With the pauses of the store, this takes about half a day.
const TRIES_MAX: u32 = 20;

impl Defects {
    /// Returns when steps were added.
    pub async fn follow_up_added(&self) {
        self.deps.process.follow_up.notified().await;
    }

    /// Takes the steps that are due.
    pub async fn follow_up(&self) {
        let deps = &self.deps;
        if let Err(error) = deps.restart_waits_if_clock_stepped().await {
            tracing::warn!(%error, "cannot begin the waits of the defects in doubt again");
            return;
        }
        let open = deps.process.open_rows();
        match deps.store.due_follow_ups(deps.clock.now(), open, ROUND_MAX).await {
            Ok(due) => {
                futures_util::stream::iter(due)
                    .for_each_concurrent(CONCURRENT_MAX, |due| self.follow_up_on(due))
                    .await;
            }
            Err(error) => tracing::warn!(%error, "cannot read what follows created defects"),
        }
    }

    /// Takes the steps of one defect that are due, and records the event.
    async fn follow_up_on(&self, DueSearch { id, connection }: DueSearch) {
        let deps = &self.deps;
        let Some(active) = deps.connections.active(connection) else { return };
        let (now, run_ms) = (deps.clock.now(), deps.config.longest_run_ms());
        let until = after(now, deps.config.lease_ms);
        let due = match deps.store.claim_follow_ups(id, now, until, run_ms).await {
            Ok(Some(due)) => due,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(defect = %id, %error, "cannot claim what follows a created defect");
                return;
            }
        };
        // Claimed even if no run can start, so that the pause before the next try grows.
        let serving = deps.connections.serving(&active.connection);
        let (Ok(connector), false) = (serving, active.connection.paused) else {
            if let Err(error) = deps.store.give_back(&due.lease).await {
                tracing::warn!(defect = %id, %error, "cannot give a lease back");
            }
            return;
        };
        let (event, open) = (EventId::fresh(), deps.process.open(id).into());
        let (received_at, started) = (deps.clock.now(), Instant::now());
        let (lease, asker) = (due.lease.clone(), Asker::Background);
        let (active, connector) = (&active, &connector);
        let leased = LeasedDefect { deps, active, connector, lease, event, asker, open };
        let outcome = leased.take_steps(&due).await;
        leased.give_back().await;
        deps.store.record_event(Event {
            id: event,
            connection: Some(connection),
            kind: EventKind::FollowUp,
            received_at,
            ms: milliseconds(started.elapsed()),
            status: None,
            outcome,
            request: Received::default(),
            defect: Some(id),
        });
    }
}

impl LeasedDefect<'_> {
    /// The defect of an earlier failure, if it is still open or may be opened again.
    pub(super) async fn still_open(
        &self,
        recurrence: &Recurrence,
    ) -> Result<Option<Defect>, Refusal> {
        let active = self.with_snapshot(recurrence.seen.as_ref());
        let (sandbox, key) = (&self.deps.sandbox, &recurrence.defect.key);
        let run = |run| sandbox.state(run, key);
        let current = self.run_reads(&active, Call::State, &recurrence.marker, run).await?;
        let reopens = self.active.connection.on_recurrence == OnRecurrence::Reopen;
        Ok(current.filter(|current| current.open || reopens).map(|current| current.defect))
    }

    /// Takes steps until one must be tried again later.
    async fn take_steps(&self, due: &DueFollowUps) -> Outcome {
        let active = self.with_snapshot(due.seen.as_ref());
        let limits = self.deps.connections.limits(&active.connection);
        let time = Duration::from_millis(limits.run_ms).saturating_mul(2);
        let until = Instant::now() + time;
        let connections = &self.deps.connections;
        let report = Arc::new(connections.test_report(&active, self.connector, &due.test, until));
        let (sandbox, key) = (&self.deps.sandbox, &due.key);
        let run = |run| sandbox.state(run, key);
        let state = self.run_reads(&active, Call::State, &due.marker, run).await;
        let work = Work { leased: self, due, active, report };
        let mut outcome = Outcome::from(OutcomeCode::FollowedUp);
        for step in &due.steps {
            let Tried { end, code } = match &state {
                Ok(Some(current)) => work.take(step, current).await,
                Ok(None) => {
                    let why = format!("the tracker does not have {} any more", due.key);
                    Tried { end: FollowUpEnd::GivenUp(why), code: OutcomeCode::NotFound }
                }
                Err(refusal) => not_done(refusal, None),
            };
            let end = match end {
                FollowUpEnd::Again { reason, .. } if step.tries >= TRIES_MAX => {
                    FollowUpEnd::GivenUp(format!("it was tried {TRIES_MAX} times. Last: {reason}"))
                }
                end => end,
            };
            let (store, now) = (&self.deps.store, self.deps.clock.now());
            if let Err(error) = store.end_follow_up(&self.lease, step, end.clone(), now).await {
                return Outcome::from(&Refusal::StoreUnavailable(error.to_string()));
            }
            if let FollowUpEnd::GivenUp(why) | FollowUpEnd::Again { reason: why, .. } = &end {
                outcome = Outcome { code, detail: printable(&format!("{}: {why}", named(step))) };
            }
            if matches!(end, FollowUpEnd::Again { .. }) {
                break;
            }
        }
        outcome
    }
}

/// The work on one defect.
struct Work<'a> {
    leased: &'a LeasedDefect<'a>,
    due: &'a DueFollowUps,
    /// As the run that created the defect saw it.
    active: Arc<ActiveConnection>,
    /// Of the failed test of the row.
    report: Arc<TestReport>,
}

/// The result of one try, and the code of the event that shows it.
struct Tried {
    end: FollowUpEnd,
    code: OutcomeCode,
}

const DONE: Tried = Tried { end: FollowUpEnd::Done, code: OutcomeCode::FollowedUp };

impl Work<'_> {
    /// Takes one step, unless the tracker says that it is done.
    async fn take(&self, step: &FollowUp, current: &CurrentDefect) -> Tried {
        let key = &current.defect.key;
        let began_at = self.leased.deps.clock.now();
        let found = match step.step {
            FollowUpStep::Reopen if current.open => return DONE,
            FollowUpStep::Reopen => return self.reopen(step, key).await,
            FollowUpStep::ListAttachments => return self.list_missing(key).await,
            FollowUpStep::Comment if step.doubt.is_none() => Ok(false),
            FollowUpStep::Comment => self.has_comment(key, &self.due.marker).await,
            FollowUpStep::Attach => {
                self.attached(key).await.map(|names| names.contains(&step.name))
            }
        };
        match found {
            Ok(true) => return DONE,
            Ok(false) => {}
            Err(Refusal::Unsupported(_)) if step.doubt.is_none() => {}
            Err(refusal) => return not_done(&refusal, None),
        }
        if let Some(doubt) = &step.doubt
            && let Some(tried) = self.not_yet(step, doubt, began_at).await
        {
            return tried;
        }
        match step.step {
            FollowUpStep::Attach => self.attach(step, key).await,
            _ => self.comment(step, key).await,
        }
    }

    /// Why a step that left a write, and that the tracker does not show, is not taken again now.
    async fn not_yet(&self, step: &FollowUp, doubt: &Doubt, began_at: Timestamp) -> Option<Tried> {
        let next = match self.leased.waits() {
            None => doubt.without_search(Unresolvable::NoSearch),
            Some(_) if step.step == FollowUpStep::Comment && !doubt.has_marker => {
                doubt.without_search(Unresolvable::NoMarker)
            }
            Some(waits) => doubt.after_none(began_at, waits),
        };
        let next = match next {
            Next::CreateIfSearchWorks => self.if_search_works(step, doubt).await,
            next => next,
        };
        let (end, code) = match next {
            Next::Create | Next::CreateIfSearchWorks => return None,
            Next::SearchAt(at) => {
                let reason = "a request was sent and its outcome is not known yet".to_owned();
                let again = FollowUpEnd::Again { sent: None, at: Some(at), reason };
                (again, OutcomeCode::OutcomePending)
            }
            Next::TryLater => {
                let reason = "the tracker cannot be searched now".to_owned();
                (FollowUpEnd::Again { sent: None, at: None, reason }, OutcomeCode::OutcomePending)
            }
            Next::NeedsPerson(why) => {
                let why = format!("a request was sent and its outcome is unknown: {why}");
                (FollowUpEnd::GivenUp(why), OutcomeCode::InDoubt)
            }
        };
        Some(Tried { end, code })
    }

    /// A search that finds nothing counts only if it finds an earlier comment.
    async fn if_search_works(&self, step: &FollowUp, doubt: &Doubt) -> Next {
        if step.step != FollowUpStep::Comment {
            return doubt.after_control(Vec::new());
        }
        let id = self.active.connection.id;
        let Ok(known) = self.leased.deps.store.comment_controls(id).await else {
            return Next::TryLater;
        };
        for control in &known {
            match self.has_comment(&control.key, &control.marker).await {
                Ok(true) => return Next::Create,
                Ok(false) => {}
                Err(_) => return Next::TryLater,
            }
        }
        doubt.after_control(known.into_iter().map(|control| control.key).collect())
    }

    async fn has_comment(&self, key: &str, marker: &Marker) -> Result<bool, Refusal> {
        let sandbox = &self.leased.deps.sandbox;
        let run = |run| sandbox.find_comment(run, key, marker);
        self.leased.run_reads(&self.active, Call::FindComment, marker, run).await
    }

    async fn attached(&self, key: &str) -> Result<Vec<String>, Refusal> {
        let sandbox = &self.leased.deps.sandbox;
        let run = |run| sandbox.attached(run, key);
        self.leased.run_reads(&self.active, Call::Attached, &self.due.marker, run).await
    }

    /// Compares the attachments of the report with those of the defect.
    async fn list_missing(&self, key: &str) -> Tried {
        let mut names = self.report.attachment_names().await;
        if names.is_empty() {
            return DONE;
        }
        match self.attached(key).await {
            Ok(attached) => {
                names.retain(|name| !attached.contains(name));
                Tried { end: FollowUpEnd::Missing(names), code: OutcomeCode::FollowedUp }
            }
            Err(refusal) => not_done(&refusal, None),
        }
    }

    /// Opens the defect again. A refusal is fine if the defect is open afterwards.
    async fn reopen(&self, step: &FollowUp, key: &str) -> Tried {
        let (leased, sandbox) = (self.leased, &self.leased.deps.sandbox);
        let run = |run, journal| sandbox.reopen(run, key, journal);
        let tried = self.write(step, Call::Reopen, run).await;
        if matches!(tried.end, FollowUpEnd::Done) {
            return tried;
        }
        let run = |run| sandbox.state(run, key);
        match leased.run_reads(&self.active, Call::State, &self.due.marker, run).await {
            Ok(Some(current)) if current.open => DONE,
            _ => tried,
        }
    }

    async fn comment(&self, step: &FollowUp, key: &str) -> Tried {
        let (due, sandbox) = (self.due, &self.leased.deps.sandbox);
        let run = |run, journal| {
            let report = Arc::clone(&self.report);
            sandbox.comment(run, key, &due.test, &due.marker, journal, report)
        };
        self.write(step, Call::Comment, run).await
    }

    async fn attach(&self, step: &FollowUp, key: &str) -> Tried {
        let names = self.report.attachment_names().await;
        let number = names.iter().position(|name| *name == step.name);
        let Some(number) = number.and_then(|number| u32::try_from(number).ok()) else {
            let why = "Test Manager does not have this file any more".to_owned();
            return Tried { end: FollowUpEnd::GivenUp(why), code: OutcomeCode::NotFound };
        };
        let sandbox = &self.leased.deps.sandbox;
        let run =
            |run, journal| sandbox.attach(run, key, number, journal, Arc::clone(&self.report));
        self.write(step, Call::Attach, run).await
    }

    /// Runs a call that writes. The host's own record of the writes decides whether it is done.
    async fn write<F: Future<Output = RunEnd<()>>>(
        &self,
        step: &FollowUp,
        call: Call,
        start: impl FnOnce(Run, Arc<dyn Journal>) -> F,
    ) -> Tried {
        let (marker, purpose) = (&self.due.marker, Purpose::FollowUp(step.clone()));
        let run = self.leased.run_writes(&self.active, call, marker, purpose, start).await;
        let RunEnd { outcome, report, writes } = match run {
            Ok(end) => end,
            Err(refusal) => return not_done(&refusal, None),
        };
        self.leased.deps.store.record_run(self.leased.event, report);
        let refusal = match outcome {
            Ok(()) if was_confirmed(&writes) => return DONE,
            Ok(()) => Refusal::ConnectorFault(ConnectorFault::Contract(
                "it returned ok, but the tracker confirmed no write".to_owned(),
            )),
            Err(refusal) => refusal,
        };
        let sent = sent_writes(&refusal, &writes);
        not_done(&refusal, sent)
    }
}

/// The step failed: whether to try again.
fn not_done(refusal: &Refusal, sent: Option<SentWrites>) -> Tried {
    let refused = sent.as_ref().is_none_or(|sent| sent.class == WriteClass::Refused);
    let permanent = matches!(refusal, Refusal::Rejected(_) | Refusal::Unsupported(_));
    let reason = refusal.to_string();
    let end = if permanent && refused {
        FollowUpEnd::GivenUp(reason)
    } else {
        FollowUpEnd::Again { sent, at: None, reason }
    };
    Tried { end, code: refusal.code() }
}

/// A step as people read it.
fn named(step: &FollowUp) -> String {
    match step.step {
        FollowUpStep::Attach => format!("attach {}", step.name),
        step => step.to_string(),
    }
}
