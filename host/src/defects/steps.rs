//! Runs one follow-up step: checks in the tracker whether the step is already done, decides whether
//! to try it again, and tries it.
//!
//! This file does not store the results of the steps: `follow_up.rs` stores them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::{
    Call, ConnectorFault, CurrentDefect, Doubt, DoubtAction, DueFollowUps, EmptySearchDecision,
    FollowUp, FollowUpEnd, FollowUpKind, Journal, Marker, OutcomeCode, Refusal, SentWrites,
    UnresolvableReason, WriteClass, confirmed_or_nothing_sent, sent_writes,
};
use crate::egress::ActiveConnection;
use crate::runtime::{RunEnd, RunInput, TestReport};
use crate::store::ControlDefect;

use super::journal::Purpose;
use super::lease::LeasedDefect;
use super::search::control_search;

/// The follow-up steps of one defect, with the data that they need.
pub(super) struct DefectSteps<'a> {
    leased: &'a LeasedDefect<'a>,
    due: &'a DueFollowUps,
    /// The connection with the settings of the run that created the defect, if they are stored.
    active: Arc<ActiveConnection>,
    /// The report of the failed test that the row belongs to, for a comment.
    report: Arc<TestReport>,
    /// A report of the same failed test that contains only the attachments.
    files: Arc<TestReport>,
    /// The defect as it was in the tracker before the first step.
    current: CurrentDefect,
}

/// The result of one attempt at a follow-up step.
#[derive(Clone)]
pub(super) struct StepResult {
    pub(super) end: FollowUpEnd,
    pub(super) code: OutcomeCode,
}

const DONE: StepResult = StepResult { end: FollowUpEnd::Done, code: OutcomeCode::FollowedUp };

impl<'a> DefectSteps<'a> {
    /// Reads the defect from the tracker. If no step can be tried, returns `Err` with the result
    /// that all steps then have.
    pub(super) async fn start(
        leased: &'a LeasedDefect<'a>,
        due: &'a DueFollowUps,
    ) -> Result<Self, StepResult> {
        let key = &due.key;
        let Some(active) = leased.in_same_tracker(due.snapshot.as_ref()) else {
            let why = "is in a tracker that the connection is no longer granted access to";
            return Err(step_not_found(format!("{key} {why}")));
        };
        let run = |run| leased.deps.sandbox.state(run, key);
        let current = match leased.run_reads(&active, Call::State, &due.marker, run).await {
            Ok(Some(current)) => current,
            Ok(None) => return Err(step_not_found(format!("the tracker no longer has {key}"))),
            Err(refusal) => return Err(try_again(&refusal, None)),
        };
        let connections = &leased.deps.connections;
        let limits = connections.limits(&active.connection);
        let read_until = Instant::now() + Duration::from_millis(limits.run_ms).saturating_mul(2);
        let reports =
            connections.follow_up_reports(&active, leased.connector, &due.test, read_until);
        let (report, files) = (Arc::new(reports.for_comment), Arc::new(reports.for_attachments));
        Ok(Self { leased, due, active, report, files, current })
    }

    /// Runs one step, unless the tracker shows that it is already done.
    pub(super) async fn run_step(&self, step: &FollowUp) -> StepResult {
        let key = &self.current.defect.key;
        let began_at = self.leased.deps.clock.now();
        let is_done = match step.kind {
            FollowUpKind::Reopen if self.current.is_open => return DONE,
            FollowUpKind::Reopen => return self.reopen(step, key).await,
            FollowUpKind::ListAttachments => return self.list_missing(key).await,
            FollowUpKind::Comment => self.has_comment(key, &self.due.marker).await,
            FollowUpKind::Attach => {
                self.attached_names(key).await.map(|names| names.contains(&step.name))
            }
        };
        match is_done {
            Ok(true) => return DONE,
            Ok(false) => {}
            Err(Refusal::Unsupported(_)) if step.doubt.is_none() => {}
            Err(refusal) => return try_again(&refusal, None),
        }
        if let Some(doubt) = &step.doubt
            && let Some(tried) = self.blocked_by_doubt(step, doubt, began_at).await
        {
            return tried;
        }
        match step.kind {
            FollowUpKind::Attach => self.attach(step, key).await,
            _ => self.comment(step, key).await,
        }
    }

    /// Decides whether a step that sent a write may be tried again, although the tracker does not
    /// show that write. Returns `None` if the step may be tried again; otherwise returns the result
    /// of the step.
    async fn blocked_by_doubt(
        &self,
        step: &FollowUp,
        doubt: &Doubt,
        began_at: Timestamp,
    ) -> Option<StepResult> {
        let lacks_marker = step.kind == FollowUpKind::Comment && !doubt.has_marker;
        let decision = match self.leased.search_waits() {
            None => EmptySearchDecision::Decided(
                doubt.action_without_search(UnresolvableReason::NoSearch),
            ),
            Some(_) if lacks_marker => EmptySearchDecision::Decided(
                doubt.action_without_search(UnresolvableReason::NoMarker),
            ),
            Some(waits) => doubt.decide_after_empty_search(began_at, waits),
        };
        let next = match (self.leased.deps.restart_waits_if_clock_stepped().await, decision) {
            (Ok(false), EmptySearchDecision::Decided(next)) => next,
            (Ok(false), EmptySearchDecision::CheckSearch) => {
                self.check_search_works(step, doubt).await
            }
            // If the clock stepped, the start of the search cannot be compared with the end of the
            // wait.
            (Ok(true) | Err(_), _) => DoubtAction::TryLater,
        };
        let (end, code) = match next {
            DoubtAction::Create => return None,
            DoubtAction::SearchAt(at) => {
                let reason = "a write was sent and its outcome is not known yet".to_owned();
                let again = FollowUpEnd::Again { sent: None, at: Some(at), reason };
                (again, OutcomeCode::OutcomePending)
            }
            DoubtAction::TryLater => {
                let reason = "the tracker cannot be searched now".to_owned();
                (FollowUpEnd::Again { sent: None, at: None, reason }, OutcomeCode::OutcomePending)
            }
            DoubtAction::NeedsPerson(why) => {
                let why = format!("a write was sent and its outcome is unknown: {why}");
                (FollowUpEnd::GivenUp(why), OutcomeCode::InDoubt)
            }
        };
        Some(StepResult { end, code })
    }

    /// Checks that the search finds an earlier comment of the connection. Skipped for attachments.
    async fn check_search_works(&self, step: &FollowUp, doubt: &Doubt) -> DoubtAction {
        if step.kind != FollowUpKind::Comment {
            return doubt.action_after_control_search(Vec::new());
        }
        let id = self.active.connection.id;
        let Ok(controls) = self.leased.deps.store.control_comments(id).await else {
            return DoubtAction::TryLater;
        };
        let find = |control: ControlDefect| async move {
            self.has_comment(&control.key, &control.marker).await
        };
        control_search(doubt, controls, find).await.unwrap_or(DoubtAction::TryLater)
    }

    async fn has_comment(&self, key: &str, marker: &Marker) -> Result<bool, Refusal> {
        let sandbox = &self.leased.deps.sandbox;
        let run = |run| sandbox.find_comment(run, key, marker);
        self.leased.run_reads(&self.active, Call::FindComment, marker, run).await
    }

    async fn attached_names(&self, key: &str) -> Result<Vec<String>, Refusal> {
        let sandbox = &self.leased.deps.sandbox;
        let run = |run| sandbox.attached(run, key);
        self.leased.run_reads(&self.active, Call::Attached, &self.due.marker, run).await
    }

    /// Lists the report's attachments that are missing at the defect. Each missing attachment
    /// becomes a separate step.
    async fn list_missing(&self, key: &str) -> StepResult {
        let mut names = match self.attachment_names().await {
            Ok(names) => names,
            Err(tried) => return tried,
        };
        if names.is_empty() {
            return DONE;
        }
        match self.attached_names(key).await {
            Ok(attached) => {
                names.retain(|name| !attached.contains(name));
                StepResult { end: FollowUpEnd::Missing(names), code: OutcomeCode::FollowedUp }
            }
            Err(refusal) => try_again(&refusal, None),
        }
    }

    /// Returns the names of the report's attachments; `Err` if not all names could be read from
    /// Test Manager.
    async fn attachment_names(&self) -> Result<Vec<String>, StepResult> {
        let names = self.leased.while_reading(self.files.attachment_names()).await;
        names.map_err(|gap| {
            let reason = format!("{}: {}", gap.what, gap.why);
            let end = FollowUpEnd::Again { sent: None, at: None, reason };
            StepResult { end, code: OutcomeCode::TestManagerUnavailable }
        })
    }

    /// Opens the defect again. A failure counts as success if the defect is open afterwards.
    async fn reopen(&self, step: &FollowUp, key: &str) -> StepResult {
        let (leased, sandbox) = (self.leased, &self.leased.deps.sandbox);
        let run = |run, journal| sandbox.reopen(run, key, journal);
        let tried = self.run_write(step, Call::Reopen, run).await;
        if matches!(tried.end, FollowUpEnd::Done) {
            return tried;
        }
        let run = |run| sandbox.state(run, key);
        match leased.run_reads(&self.active, Call::State, &self.due.marker, run).await {
            Ok(Some(current)) if current.is_open => DONE,
            _ => tried,
        }
    }

    async fn comment(&self, step: &FollowUp, key: &str) -> StepResult {
        let (due, sandbox) = (self.due, &self.leased.deps.sandbox);
        let run = |run, journal| {
            let report = Arc::clone(&self.report);
            sandbox.comment(run, key, &due.test, &due.marker, journal, report)
        };
        self.run_write(step, Call::Comment, run).await
    }

    async fn attach(&self, step: &FollowUp, key: &str) -> StepResult {
        let names = match self.attachment_names().await {
            Ok(names) => names,
            Err(tried) => return tried,
        };
        let number = names.iter().position(|name| *name == step.name);
        let Some(number) = number.and_then(|number| u32::try_from(number).ok()) else {
            return step_not_found("Test Manager no longer has this file".to_owned());
        };
        let sandbox = &self.leased.deps.sandbox;
        let run = |run, journal| sandbox.attach(run, key, number, journal, Arc::clone(&self.files));
        let tried = self.run_write(step, Call::Attach, run).await;
        let sent_nothing = matches!(tried.end, FollowUpEnd::Again { sent: None, .. });
        if sent_nothing && self.files.is_too_large(&step.name) {
            let why = "the file is larger than `file_bytes_max` or than a request may be";
            return StepResult {
                end: FollowUpEnd::GivenUp(why.to_owned()),
                code: OutcomeCode::Rejected,
            };
        }
        tried
    }

    /// Runs a call that writes. A success counts only if the host's own record of the writes does
    /// not contradict it.
    async fn run_write<F: Future<Output = RunEnd<()>>>(
        &self,
        step: &FollowUp,
        call: Call,
        start: impl FnOnce(RunInput, Arc<dyn Journal>) -> F,
    ) -> StepResult {
        let (marker, purpose) = (&self.due.marker, Purpose::FollowUp(step.clone()));
        let run = self.leased.run_writes(&self.active, call, marker, purpose, start).await;
        let RunEnd { outcome, report, writes } = match run {
            Ok(end) => end,
            Err(refusal) => return try_again(&refusal, None),
        };
        let connection = &self.active.connection;
        self.leased.deps.history.record_run(connection, self.leased.event, report, &outcome);
        let refusal = match outcome {
            Ok(()) if confirmed_or_nothing_sent(&writes) => return DONE,
            Ok(()) => Refusal::ConnectorFault(ConnectorFault::Contract(
                "the call returned ok, but the tracker confirmed no write".to_owned(),
            )),
            Err(refusal) => refusal,
        };
        let sent = sent_writes(&refusal, &writes);
        step_failed(&refusal, sent)
    }
}

/// The result of a step whose call failed. If the tracker refused the writes and the connector
/// returned `rejected` or `unsupported`, the step is given up.
fn step_failed(refusal: &Refusal, sent: Option<SentWrites>) -> StepResult {
    let is_refused = sent.as_ref().is_some_and(|sent| sent.class == WriteClass::Refused);
    if is_refused && matches!(refusal, Refusal::Rejected(_) | Refusal::Unsupported(_)) {
        return StepResult { end: FollowUpEnd::GivenUp(refusal.to_string()), code: refusal.code() };
    }
    try_again(refusal, sent)
}

fn try_again(refusal: &Refusal, sent: Option<SentWrites>) -> StepResult {
    let end = FollowUpEnd::Again { sent, at: None, reason: refusal.to_string() };
    StepResult { end, code: refusal.code() }
}

fn step_not_found(why: String) -> StepResult {
    StepResult { end: FollowUpEnd::GivenUp(why), code: OutcomeCode::NotFound }
}
