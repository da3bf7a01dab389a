//! The work that the server does without a request. If several servers share the store, this work
//! also follows the changes of the other servers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::{Accounts, Audit};
use crate::config::LiveConfig;
use crate::connections::Connections;
use crate::defects::Defects;
use crate::domain::Clock;
use crate::http::Services;
use crate::kpis::Kpis;
use crate::plugins::Plugins;
use crate::store::{Change, Retention, Store};

/// Maximum number of stored events of requests that matched no connection. The number is limited
/// separately, because anyone can send such requests.
const NO_CONNECTION_EVENTS_MAX: u64 = 1_000;

/// Events are deleted by age only if one of the kept events has at least this age, or half of
/// `events_days` if that is shorter. Otherwise the clock may have been set forward, and all events
/// would be deleted.
const CLOCK_CONFIRMED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// If the change of another server could not be read, the pause before it is read again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Background {
    accounts: Arc<Accounts>,
    audit: Arc<Audit>,
    defects: Arc<Defects>,
    connections: Arc<Connections>,
    kpis: Kpis,
    plugins: Arc<Plugins>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    config: Arc<LiveConfig>,
}

impl Background {
    pub(super) fn new(services: &Services) -> Self {
        Self {
            accounts: Arc::clone(&services.accounts),
            audit: Arc::clone(&services.audit),
            defects: Arc::clone(&services.defects),
            connections: Arc::clone(&services.connections),
            kpis: services.kpis.clone(),
            plugins: Arc::clone(&services.plugins),
            store: Arc::clone(&services.store),
            clock: Arc::clone(&services.clock),
            config: Arc::clone(&services.config),
        }
    }

    /// Starts the background work, which runs until `cancel` is cancelled. Each kind of work has
    /// its own task, so that slow work does not delay other work: a search waits for trackers, and
    /// the file of a secret may be on a disk that does not answer.
    pub(super) fn spawn(self, tasks: &TaskTracker, cancel: &CancellationToken) {
        let background = Arc::new(self);
        let (plugins, connections) =
            (Arc::clone(&background.plugins), Arc::clone(&background.connections));
        let recompile =
            async move { plugins.recompile_accepted(connections.accepted_versions()).await };
        tasks.spawn(cancel.clone().run_until_cancelled_owned(recompile));
        background.repeat(tasks, cancel, |work| async move { work.defects.sweep().await });
        background.repeat(
            tasks,
            cancel,
            |work| async move { work.defects.measure_index_lags().await },
        );
        background.follow_up(tasks, cancel);
        background.repeat(tasks, cancel, |work| async move { work.load_connections().await });
        background.repeat(tasks, cancel, |work| async move { work.delete_old_events().await });
        background.repeat(tasks, cancel, |work| async move { work.delete_unused_code().await });
        background.repeat(
            tasks,
            cancel,
            |work| async move { work.delete_expired_sessions().await },
        );
        background.repeat(tasks, cancel, |work| async move { work.delete_old_audit().await });
        background.follow_versions(tasks, cancel);
        if background.store.is_shared() {
            background.follow_other_servers(tasks, cancel);
        }
        if background.plugins.shares_connectors() {
            background.load_accepted_versions(tasks, cancel);
        }
    }

    /// Repeats `work` until `cancel` is cancelled, with a pause of `sweep_ms` before each
    /// repetition. A repetition that is in progress at the cancellation is finished.
    fn repeat<F: Future<Output = ()> + Send>(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
        work: impl Fn(Arc<Self>) -> F + Send + 'static,
    ) {
        let (background, cancel) = (Arc::clone(self), cancel.clone());
        tasks.spawn(async move {
            while cancel.run_until_cancelled(sleep(background.sweep_pause())).await.is_some() {
                work(Arc::clone(&background)).await;
            }
        });
    }

    /// Runs the steps that follow a create, such as comments: each time steps are added, and after
    /// each pause of `sweep_ms`.
    fn follow_up(self: &Arc<Self>, tasks: &TaskTracker, cancel: &CancellationToken) {
        let (background, cancel) = (Arc::clone(self), cancel.clone());
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = background.defects.wait_for_follow_up_steps() => {}
                    () = sleep(background.sweep_pause()) => {}
                }
                background.defects.follow_up().await;
            }
        });
    }

    /// Moves connections to new versions of their connectors: each time a connector's version
    /// changes, and after each pause of `sweep_ms`.
    fn follow_versions(self: &Arc<Self>, tasks: &TaskTracker, cancel: &CancellationToken) {
        let (background, cancel) = (Arc::clone(self), cancel.clone());
        let mut versions = self.plugins.changes();
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = cancel.cancelled() => {
                        // Delete the webhook tokens that have expired since the connections were
                        // last read.
                        background.load_connections().await;
                        return;
                    }
                    Ok(()) = versions.changed() => {}
                    () = sleep(background.sweep_pause()) => {}
                }
                background.connections.follow_versions().await;
            }
        });
    }

    fn follow_other_servers(self: &Arc<Self>, tasks: &TaskTracker, cancel: &CancellationToken) {
        let (background, cancel) = (Arc::clone(self), cancel.clone());
        let mut changes = self.store.subscribe_to_changes();
        tasks.spawn(cancel.run_until_cancelled_owned(async move {
            // Read the changes that were made before the subscription.
            background.apply_change(Change::Missed).await;
            loop {
                background.apply_change(changes.next().await).await;
            }
        }));
    }

    async fn apply_change(&self, change: Change) {
        let mut read = match change {
            Change::Connection(id) => self.connections.reload_changed(id).await,
            Change::Missed => self.connections.load().await,
            Change::Counts(id, project) => {
                self.kpis.take_over_counts(id, &project).await;
                return;
            }
            // Other parts of the server follow these changes.
            Change::Defect(_) | Change::Connectors => return,
        };
        while let Err(error) = read {
            tracing::warn!(%error, "cannot read the change of another server; trying again");
            sleep(RETRY_PAUSE).await;
            read = self.connections.load().await;
        }
    }

    /// Loads accepted connector versions, because another server may have accepted one: each time a
    /// connector's version changes, and after each pause of `sweep_ms`.
    fn load_accepted_versions(self: &Arc<Self>, tasks: &TaskTracker, cancel: &CancellationToken) {
        let (background, cancel) = (Arc::clone(self), cancel.clone());
        let mut versions = self.plugins.changes();
        tasks.spawn(cancel.run_until_cancelled_owned(async move {
            loop {
                tokio::select! {
                    Ok(()) = versions.changed() => {}
                    () = sleep(background.sweep_pause()) => {}
                }
                background
                    .plugins
                    .recompile_accepted(background.connections.accepted_versions())
                    .await;
            }
        }));
    }

    fn sweep_pause(&self) -> Duration {
        Duration::from_millis(self.config.current().sweep_ms)
    }

    async fn load_connections(&self) {
        if let Err(error) = self.connections.load().await {
            tracing::warn!(%error, "cannot read the connections again");
        }
    }

    async fn delete_unused_code(&self) {
        let accepted = self.connections.accepted_versions().into_iter();
        self.plugins.delete_unused_code(accepted.map(|(_, sha256)| sha256).collect()).await;
    }

    async fn delete_expired_sessions(&self) {
        if let Err(error) = self.accounts.delete_expired_sessions().await {
            tracing::warn!(%error, "cannot delete expired sessions");
        }
    }

    async fn delete_old_audit(&self) {
        if let Err(error) = self.audit.prune().await {
            tracing::warn!(%error, "cannot delete old entries of the audit log");
        }
    }

    async fn delete_old_events(&self) {
        let config = self.config.current();
        let kept_for = Duration::from_secs(u64::from(config.events_days) * 24 * 60 * 60);
        let now = self.clock.now();
        let time_before = |age: Duration| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
        let retention = Retention {
            events_since: time_before(kept_for),
            confirmed_by: time_before(CLOCK_CONFIRMED_AFTER.min(kept_for / 2)),
            events_max: config.events_max,
            no_connection_events_max: NO_CONNECTION_EVENTS_MAX,
            events_bytes_max: config.events_bytes_max,
        };
        if let Err(error) = self.store.prune(retention).await {
            tracing::warn!(%error, "cannot delete old events");
        }
    }
}
