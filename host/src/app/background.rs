//! Work without a request: searches for defects in doubt, adds comments and attachments to created
//! defects, measures index delays, reads the connections again, moves them to new versions of
//! connectors, and deletes old events and unused compiled code.

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

/// Maximum number of stored events of requests that matched no connection: anyone can send such
/// requests.
const NO_CONNECTION_MAX: u64 = 1_000;

/// Events are deleted by age only if one of the kept events has at least this age. Otherwise the
/// clock may have been set forward, and all events would be deleted.
const CONFIRMED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause before a change that could not be read is read again.
const READ_AGAIN_PAUSE: Duration = Duration::from_millis(500);

/// The parts that the background work uses.
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
    pub(super) fn of(services: &Services) -> Self {
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

    /// Works until cancelled. Each kind of work has its own task, so that a slow one does not delay
    /// the others: a search waits for trackers, and a secret's file may be on a disk that does not
    /// answer. Work in progress is finished.
    pub(super) fn spawn(self, tasks: &TaskTracker, cancel: &CancellationToken) {
        let it = Arc::new(self);
        let (plugins, connections) = (Arc::clone(&it.plugins), Arc::clone(&it.connections));
        let restore =
            async move { plugins.recompile_accepted(connections.accepted_versions()).await };
        tasks.spawn(cancel.clone().run_until_cancelled_owned(restore));
        it.repeat(tasks, cancel, |it| async move { it.defects.sweep().await });
        it.repeat(tasks, cancel, |it| async move { it.defects.measure_index_lags().await });
        it.follow_up(tasks, cancel);
        it.repeat(tasks, cancel, |it| async move { it.load_connections().await });
        it.repeat(tasks, cancel, |it| async move { it.delete_old_events().await });
        it.repeat(tasks, cancel, |it| async move { it.delete_unused_code().await });
        it.repeat(tasks, cancel, |it| async move { it.delete_ended_sessions().await });
        it.repeat(tasks, cancel, |it| async move { it.delete_old_audit().await });
        it.follow_versions(tasks, cancel);
        if it.store.is_shared() {
            it.follow_others(tasks, cancel);
        }
        if it.plugins.are_shared() {
            it.load_accepted(tasks, cancel);
        }
    }

    /// Repeats the work until cancelled, with a pause before each time.
    fn repeat<F: Future<Output = ()> + Send>(
        self: &Arc<Self>,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
        work: impl Fn(Arc<Self>) -> F + Send + 'static,
    ) {
        let (it, cancel) = (Arc::clone(self), cancel.clone());
        tasks.spawn(async move {
            while cancel.run_until_cancelled(sleep(it.pause())).await.is_some() {
                work(Arc::clone(&it)).await;
            }
        });
    }

    /// Takes the steps after creates: whenever steps are added, and regularly.
    fn follow_up(self: &Arc<Self>, tasks: &TaskTracker, cancel: &CancellationToken) {
        let (it, cancel) = (Arc::clone(self), cancel.clone());
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = it.defects.follow_up_added() => {}
                    () = sleep(it.pause()) => {}
                }
                it.defects.follow_up().await;
            }
        });
    }

    /// Moves connections to new versions of their connectors: at each change, and regularly.
    fn follow_versions(self: &Arc<Self>, tasks: &TaskTracker, cancel: &CancellationToken) {
        let (it, cancel) = (Arc::clone(self), cancel.clone());
        let mut versions = self.plugins.changes();
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = cancel.cancelled() => {
                        // Delete the tokens that have expired since the connections were last read.
                        it.load_connections().await;
                        return;
                    }
                    Ok(()) = versions.changed() => {}
                    () = sleep(it.pause()) => {}
                }
                it.connections.follow_versions().await;
            }
        });
    }

    /// Follows what other servers change in a store that they share.
    fn follow_others(self: &Arc<Self>, tasks: &TaskTracker, cancel: &CancellationToken) {
        let (it, cancel) = (Arc::clone(self), cancel.clone());
        let mut changes = self.store.changes();
        tasks.spawn(cancel.run_until_cancelled_owned(async move {
            // What changed before the subscription.
            it.apply_change(Change::Missed).await;
            loop {
                it.apply_change(changes.next().await).await;
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
            // Whoever waits for a defect hears of it; connectors have followers of their own.
            Change::Defect(_) | Change::Connectors => return,
        };
        while let Err(error) = read {
            tracing::warn!(%error, "cannot read what another server changed; it is tried again");
            sleep(READ_AGAIN_PAUSE).await;
            read = self.connections.load().await;
        }
    }

    /// Loads the versions that connections accepted at another server: at each change, and
    /// regularly.
    fn load_accepted(self: &Arc<Self>, tasks: &TaskTracker, cancel: &CancellationToken) {
        let (it, cancel) = (Arc::clone(self), cancel.clone());
        let mut versions = self.plugins.changes();
        tasks.spawn(cancel.run_until_cancelled_owned(async move {
            loop {
                tokio::select! {
                    Ok(()) = versions.changed() => {}
                    () = sleep(it.pause()) => {}
                }
                it.plugins.recompile_accepted(it.connections.accepted_versions()).await;
            }
        }));
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(self.config.now().sweep_ms)
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

    async fn delete_ended_sessions(&self) {
        if let Err(error) = self.accounts.delete_ended_sessions().await {
            tracing::warn!(%error, "cannot delete sessions that have ended");
        }
    }

    async fn delete_old_audit(&self) {
        if let Err(error) = self.audit.prune().await {
            tracing::warn!(%error, "cannot delete old entries of the audit log");
        }
    }

    async fn delete_old_events(&self) {
        let config = self.config.now();
        let kept = Duration::from_secs(u64::from(config.events_days) * 24 * 60 * 60);
        let now = self.clock.now();
        let since = |age: Duration| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
        let retention = Retention {
            events_since: since(kept),
            confirmed_by: since(CONFIRMED_AFTER.min(kept / 2)),
            events_max: config.events_max,
            no_connection_max: NO_CONNECTION_MAX,
            events_bytes_max: config.events_bytes_max,
        };
        if let Err(error) = self.store.prune(retention).await {
            tracing::warn!(%error, "cannot delete old events");
        }
    }
}
