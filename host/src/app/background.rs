//! What the server does without a request, round by round: it searches for defects in doubt, reads the
//! connections again, and deletes old events and unused compiled code.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::connections::Connections;
use crate::defects::Defects;
use crate::domain::Clock;
use crate::http::Services;
use crate::plugins::Plugins;
use crate::store::{Retention, Store};

/// Requests that matched no connection and are kept: anybody can send those.
const NO_CONNECTION_MAX: u64 = 1_000;

/// How old an event must be before it confirms the clock by which older ones are deleted.
const CONFIRMED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What the background work acts on.
pub(super) struct Background {
    defects: Arc<Defects>,
    connections: Arc<Connections>,
    plugins: Arc<Plugins>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    config: Arc<Config>,
}

impl Background {
    pub(super) fn of(services: &Services) -> Self {
        Self {
            defects: Arc::clone(&services.defects),
            connections: Arc::clone(&services.connections),
            plugins: Arc::clone(&services.plugins),
            store: Arc::clone(&services.store),
            clock: Arc::clone(&services.clock),
            config: Arc::clone(&services.config),
        }
    }

    /// Works until cancelled. A search in progress is finished.
    pub(super) fn spawn(self, tasks: &TaskTracker, cancel: CancellationToken) {
        let (plugins, connections) = (Arc::clone(&self.plugins), Arc::clone(&self.connections));
        let restore = async move { plugins.restore(connections.accepted_versions()).await };
        tasks.spawn(cancel.clone().run_until_cancelled_owned(restore));
        let mut versions = self.plugins.changes();
        let pause = Duration::from_millis(self.config.sweep_ms);
        tasks.spawn(async move {
            let mut next = Instant::now() + pause;
            loop {
                tokio::select! {
                    () = cancel.cancelled() => {
                        // Deletes the tokens that have expired since the last round.
                        let _ = self.connections.load().await;
                        return;
                    }
                    Ok(()) = versions.changed() => self.connections.follow_versions().await,
                    () = sleep_until(next) => {
                        self.round().await;
                        next = Instant::now() + pause;
                    }
                }
            }
        });
    }

    async fn round(&self) {
        if let Err(error) = self.connections.load().await {
            tracing::warn!(%error, "cannot read the connections again");
        }
        self.connections.follow_versions().await;
        self.defects.sweep().await;
        self.defects.measure_index_lags().await;
        self.delete_old_events().await;
        let accepted = self.connections.accepted_versions().into_iter();
        self.plugins.forget_unused(accepted.map(|(_, sha256)| sha256).collect()).await;
    }

    async fn delete_old_events(&self) {
        let kept = Duration::from_secs(u64::from(self.config.events_days) * 24 * 60 * 60);
        let now = self.clock.now();
        let since = |age: Duration| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
        let retention = Retention {
            events_since: since(kept),
            confirmed_by: since(CONFIRMED_AFTER.min(kept / 2)),
            events_max: self.config.events_max,
            no_connection_max: NO_CONNECTION_MAX,
        };
        if let Err(error) = self.store.prune(retention).await {
            tracing::warn!(%error, "cannot delete old events");
        }
    }
}
