//! A defect's row that this process has leased. This file starts runs under the lease, stores their
//! outcomes and gives the lease back.
//!
//! The lease is renewed while a run lasts. If the lease cannot be renewed, the run is stopped
//! before the lease ends, so that two processes do not write for one failed test at the same time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::connections::RunRequester;
use crate::domain::{
    Call, ConnectionSnapshot, Defect, EventStart, FailedTest, FollowUpKind, Journal, Lease,
    LogLevel, LogLine, Marker, OnRecurrence, Refusal, RowEnd, SearchEnd, TimedStepKind, after,
};
use crate::egress::ActiveConnection;
use crate::runtime::{Connector, RunEnd, RunInput};
use crate::store::StoreError;

use super::Dependencies;
use super::journal::{Purpose, WriteJournal};
use super::process::RowInWork;

/// The pause before the server tries again to store a defect that the tracker has.
const STORE_RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A leased row, with everything that its runs need.
pub(super) struct LeasedDefect<'a> {
    pub(super) deps: &'a Dependencies,
    /// [`Self::route_and_create`] replaces this by a connection with the settings that the run of
    /// `create` uses.
    pub(super) active: Arc<ActiveConnection>,
    pub(super) connector: &'a Arc<Connector>,
    pub(super) lease: Lease,
    pub(super) event: EventStart,
    pub(super) requester: RunRequester,
    row_in_work: Arc<RowInWork>,
    /// Whether the run of `create` attached every file of the report. If so, no follow-up step
    /// attaches files.
    has_attached_all_files: bool,
}

impl<'a> LeasedDefect<'a> {
    /// Marks that this process works on the row, at least until the value is dropped.
    pub(super) fn new(
        deps: &'a Dependencies,
        active: Arc<ActiveConnection>,
        connector: &'a Arc<Connector>,
        lease: Lease,
        event: EventStart,
        requester: RunRequester,
    ) -> Self {
        let row_in_work = Arc::new(deps.process_state.begin_work(lease.defect));
        let has_attached_all_files = false;
        Self {
            deps,
            active,
            connector,
            lease,
            event,
            requester,
            row_in_work,
            has_attached_all_files,
        }
    }
}

impl LeasedDefect<'_> {
    fn check_breaker(&self, call: Call) -> Result<(), Refusal> {
        let (connections, connection) = (&self.deps.connections, &self.active.connection);
        connections.allow_run(connection, self.connector, call, self.requester)
    }

    /// Records in the circuit breaker how an allowed run ended.
    fn record_outcome<T>(&self, call: Call, marker: &Marker, outcome: &Result<T, Refusal>) {
        let id = self.active.connection.id;
        self.deps.connections.record_outcome(id, call, marker.as_str(), outcome);
    }

    /// Runs `create` with the settings that the routing rules select, and journals its writes under
    /// the lease. The rules and the report may read from Test Manager until `read_until`.
    pub(super) async fn route_and_create(
        &mut self,
        test: &FailedTest,
        marker: &Marker,
        read_until: Instant,
    ) -> Result<RunEnd<Defect>, Refusal> {
        self.check_breaker(Call::Create)?;
        let connections = Arc::clone(&self.deps.connections);
        let routing = connections.route(&self.active, self.connector, test, read_until);
        let routed = self.while_reading(routing).await;
        self.active = routed.active;
        let purpose = Purpose::Create(self.snapshot_now());
        let (sandbox, test_report) = (&self.deps.sandbox, Arc::new(routed.report));
        let start =
            |run, journal| sandbox.create(run, test, marker, journal, Arc::clone(&test_report));
        let mut end = self.run_journaled(&self.active, Call::Create, marker, purpose, start).await;
        self.has_attached_all_files = test_report.has_attached_all_files();
        routed.record.add_to_run_report(&self.event, &mut end.report);
        Ok(end)
    }

    /// `active` may have the settings of an earlier run.
    pub(super) async fn run_find(
        &self,
        active: &Arc<ActiveConnection>,
        marker: &Marker,
    ) -> Result<Vec<Defect>, Refusal> {
        let sandbox = &self.deps.sandbox;
        self.run_reads(active, Call::Find, marker, |run| sandbox.find(run, marker)).await
    }

    /// Runs a call that may write, and journals its writes under the lease. Returns `Err` if no run
    /// was started.
    pub(super) async fn run_writes<T, F: Future<Output = RunEnd<T>>>(
        &self,
        active: &Arc<ActiveConnection>,
        call: Call,
        marker: &Marker,
        purpose: Purpose,
        start: impl FnOnce(RunInput, Arc<dyn Journal>) -> F,
    ) -> Result<RunEnd<T>, Refusal> {
        self.check_breaker(call)?;
        Ok(self.run_journaled(active, call, marker, purpose, start).await)
    }

    /// Does the same as [`Self::run_writes`], for a call that the circuit breaker has allowed.
    async fn run_journaled<T, F: Future<Output = RunEnd<T>>>(
        &self,
        active: &Arc<ActiveConnection>,
        call: Call,
        marker: &Marker,
        purpose: Purpose,
        start: impl FnOnce(RunInput, Arc<dyn Journal>) -> F,
    ) -> RunEnd<T> {
        let journal = WriteJournal::new(self, marker, purpose);
        let run = self.new_run_input(active);
        let stop = run.stop.clone();
        let run = start(run, Arc::clone(&journal) as Arc<dyn Journal>);
        let mut end = self.while_renewing(stop, run).await;
        end.outcome = journal.correct_outcome(end.outcome);
        if call == Call::Create
            && let Some(message) = journal.warning()
        {
            let at_ms = end.report.usage.run_ms;
            end.report.log.push(LogLine { at_ms, level: LogLevel::Warn, message });
        }
        self.record_outcome(call, marker, &end.outcome);
        end
    }

    /// Runs a call that only reads, and stores its report.
    pub(super) async fn run_reads<T, F: Future<Output = RunEnd<T>>>(
        &self,
        active: &Arc<ActiveConnection>,
        call: Call,
        marker: &Marker,
        start: impl FnOnce(RunInput) -> F,
    ) -> Result<T, Refusal> {
        // Several runs may follow each other under one lease, so renew it first.
        let until = after(self.deps.clock.now(), self.deps.config.current().lease_ms);
        match self.deps.store.renew(&self.lease, until).await {
            Ok(()) => {}
            Err(StoreError::Fenced | StoreError::NotFound(_)) => return Err(Refusal::RunStopped),
            Err(error) => return Err(Refusal::StoreUnavailable(error.to_string())),
        }
        self.check_breaker(call)?;
        let run = self.new_run_input(active);
        let stop = run.stop.clone();
        let end = self.while_renewing(stop, start(run)).await;
        self.record_outcome(call, marker, &end.outcome);
        self.deps.history.record_run(&active.connection, self.event, end.report, &end.outcome);
        end.outcome
    }

    /// Returns the settings, origins and connector version that a run would use now.
    pub(super) fn snapshot_now(&self) -> ConnectionSnapshot {
        let connection = &self.active.connection;
        ConnectionSnapshot {
            // JSON values can always be written as text.
            settings: serde_json::to_string(&connection.settings).unwrap_or_default(),
            origins: connection.grants.origins.clone(),
            connector_sha256: self.connector.sha256().to_owned(),
        }
    }

    /// Stores the outcome in the row, adds the follow-up steps, and gives the lease back.
    pub(super) async fn store_outcome(&self, end: &RowEnd) -> Result<(), StoreError> {
        let (now, steps) = (self.deps.clock.now(), self.needed_follow_up_steps(end));
        let (event, store, began) = (self.event, &self.deps.store, Instant::now());
        let stored = store.store_outcome(&self.lease, end, &steps, event.id, now).await;
        self.record_store(began);
        stored?;
        self.row_in_work.add_steps(&steps);
        Ok(())
    }

    fn record_store(&self, began: Instant) {
        let (began, ended) = (began.into_std(), Instant::now().into_std());
        let step = self.event.timed_step(TimedStepKind::Store, began, ended);
        self.deps.history.record_timed_steps(self.event, step.into());
    }

    fn needed_follow_up_steps(&self, end: &RowEnd) -> Vec<FollowUpKind> {
        let attaches = || {
            !self.has_attached_all_files
                && self.deps.connections.can_attach_files(&self.active, self.connector)
        };
        match end {
            RowEnd::NotCreated(_) => Vec::new(),
            RowEnd::Created(_) | RowEnd::Found(_) if attaches() => {
                vec![FollowUpKind::ListAttachments]
            }
            RowEnd::Created(_) | RowEnd::Found(_) => Vec::new(),
            RowEnd::Recurs { .. } => match self.active.connection.on_recurrence {
                OnRecurrence::Reopen => vec![FollowUpKind::Reopen, FollowUpKind::Comment],
                OnRecurrence::New | OnRecurrence::Comment => vec![FollowUpKind::Comment],
            },
        }
    }

    /// Stores a defect that the tracker has. If the store fails, tries again in the background for
    /// as long as a lease lasts, so that the defect is not lost.
    pub(super) async fn store_or_retry(&self, end: RowEnd) {
        let Err(error) = self.store_outcome(&end).await else { return };
        let steps = self.needed_follow_up_steps(&end);
        let id = self.lease.defect;
        tracing::warn!(defect = %id, %error, "cannot store a defect; trying again later");
        let (deps, row_in_work) = (self.deps.clone(), Arc::clone(&self.row_in_work));
        let (lease, event) = (self.lease.clone(), self.event.id);
        let until = Instant::now() + Duration::from_millis(deps.config.current().lease_ms);
        self.deps.tasks.spawn(async move {
            while Instant::now() < until {
                sleep(STORE_RETRY_PAUSE).await;
                let now = deps.clock.now();
                // If another run has leased the row, a later attempt can succeed after that lease.
                if deps.store.store_outcome(&lease, &end, &steps, event, now).await.is_ok() {
                    row_in_work.add_steps(&steps);
                    return;
                }
            }
            tracing::error!(
                defect = %lease.defect,
                "a created defect could not be stored; the next click searches for it, unless the \
                 connector marked no request as a write"
            );
            drop(row_in_work);
        });
    }

    pub(super) async fn end_search(&self, end: SearchEnd) {
        let began = Instant::now();
        let ended = self.deps.store.end_search(&self.lease, end, self.deps.clock.now()).await;
        // A background search is not always stored as an event, so its time is not recorded.
        if matches!(self.requester, RunRequester::Event) {
            self.record_store(began);
        }
        self.warn_if_not_given_back(ended);
    }

    pub(super) async fn give_back(&self) {
        let released = self.deps.store.give_back(&self.lease).await;
        self.warn_if_not_given_back(released);
    }

    /// No retry is needed, because the lease expires.
    fn warn_if_not_given_back(&self, given_back: Result<(), StoreError>) {
        if let Err(error) = given_back {
            tracing::warn!(defect = %self.lease.defect, %error, "cannot give a lease back");
        }
    }

    /// Renews the lease while data is read from Test Manager.
    pub(super) fn while_reading<T>(
        &self,
        read: impl Future<Output = T>,
    ) -> impl Future<Output = T> {
        self.while_renewing(CancellationToken::new(), read)
    }

    fn new_run_input(&self, active: &Arc<ActiveConnection>) -> RunInput {
        let (connector, active) = (Arc::clone(self.connector), Arc::clone(active));
        let trace = || self.deps.history.trace(self.event.id);
        RunInput::for_event(connector, active, self.event, trace)
    }

    /// Renews the lease until the run ends. If the lease is lost, stops the run and still waits for
    /// its end, so that the record of its writes is complete.
    async fn while_renewing<T>(&self, stop: CancellationToken, run: impl Future<Output = T>) -> T {
        let mut run = std::pin::pin!(run);
        tokio::select! {
            biased;
            end = &mut run => return end,
            () = self.renew_until_lost() => stop.cancel(),
        }
        run.await
    }

    /// Returns when the lease is lost, or is about to end and could not be renewed.
    async fn renew_until_lost(&self) {
        let clock = &self.deps.clock;
        let lease_ms = self.deps.config.current().lease_ms;
        let third = Duration::from_millis(lease_ms / 3);
        let remaining = self.lease.until.duration_since(clock.now());
        // `until` is measured as time since boot, because that clock continues while the process is
        // stopped.
        let mut until = clock.since_boot() + Duration::try_from(remaining).unwrap_or_default();
        loop {
            // Renew at once if little time is left, for example because the process was stopped.
            let spare = until.saturating_sub(clock.since_boot()).saturating_sub(third);
            sleep(third.min(spare)).await;
            let began_at = clock.since_boot();
            let next = after(clock.now(), lease_ms);
            match timeout(third, self.deps.store.renew(&self.lease, next)).await {
                Ok(Ok(())) => until = began_at + Duration::from_millis(lease_ms),
                Ok(Err(StoreError::Fenced | StoreError::NotFound(_))) => return,
                Ok(Err(_)) | Err(_) if clock.since_boot() + third >= until => return,
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}
