//! Compares what the servers of one database have loaded, and reports differences.
//!
//! Never changes a connector: with `plugins_source = "folder"`, a person does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::domain::Clock;
use crate::store::{ConnectorStore, LoadedConnectors, StoreError};
use crate::transport::host_name;

use super::catalog::Catalog;

/// How often a server reports what it has loaded, besides at each change.
const REPORT_PERIOD: Duration = Duration::from_secs(10);
/// The shortest time between two reports.
const REPORT_GAP: Duration = Duration::from_millis(200);
/// A server without a report for this long counts as ended.
const SILENT_MAX: SignedDuration = SignedDuration::from_secs(25);
/// A difference is logged once it has lasted longer than this: files are not replaced everywhere at
/// the same time, and a server that was killed is compared until its last report is too old.
const LOGGED_AFTER: Duration = Duration::from_secs(26);

/// A connector of which the servers of one database do not all use the same version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorDifference {
    /// The name of the connector.
    pub name: String,
    /// For each server its name, and the SHA-256 of the version that it uses, if any.
    pub servers: Vec<(String, Option<String>)>,
}

/// The reports of this server and of the others.
pub(super) struct Peers {
    store: Arc<dyn ConnectorStore>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    server: Uuid,
    label: String,
}

impl Peers {
    pub(super) fn new(
        store: Arc<dyn ConnectorStore>,
        catalog: Arc<Catalog>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let label = format!("{} (process {})", host_name(), std::process::id());
        Self { store, catalog, clock, server: Uuid::new_v4(), label }
    }

    /// Reports what is loaded, and logs differences. Never returns.
    pub(super) async fn run(self: Arc<Self>) {
        let mut snapshots = self.catalog.changes();
        let mut seen = BTreeMap::new();
        loop {
            snapshots.mark_unchanged();
            match self.report().await {
                Ok(()) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot store the report of this server's connectors")
                }
            }
            match self.differences().await {
                Ok(differences) => log_lasting_differences(differences, &mut seen),
                Err(error) => {
                    tracing::debug!(%error, "cannot read the reports of the servers' connectors")
                }
            }
            sleep(REPORT_GAP).await;
            tokio::select! {
                Ok(()) = snapshots.changed() => {}
                () = sleep(REPORT_PERIOD) => {}
            }
        }
    }

    async fn report(&self) -> Result<(), StoreError> {
        let (_, snapshot) = self.catalog.numbered();
        let loaded = snapshot.iter().filter_map(|(name, entry)| {
            Some((name.clone(), entry.newest_loaded.as_ref()?.sha256().to_owned()))
        });
        let connectors = loaded.collect();
        let (server, label, at) = (self.server, self.label.clone(), self.clock.now());
        self.store.report_connectors(LoadedConnectors { server, label, at, connectors }).await
    }

    /// Deletes the report of this server.
    pub(super) async fn leave(&self) {
        if let Err(error) = self.store.forget_server(self.server).await {
            tracing::debug!(%error, "cannot delete the report of this server's connectors");
        }
    }

    /// The connectors that differ now.
    pub(super) async fn differences(&self) -> Result<Vec<ConnectorDifference>, StoreError> {
        let since = self.clock.now().checked_sub(SILENT_MAX).unwrap_or(Timestamp::MIN);
        Ok(differences(&self.store.loaded_connectors(since).await?))
    }
}

fn differences(servers: &[LoadedConnectors]) -> Vec<ConnectorDifference> {
    let names: BTreeSet<&String> = servers.iter().flat_map(|it| it.connectors.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let used = |it: &LoadedConnectors| (it.label.clone(), it.connectors.get(name).cloned());
        let servers: Vec<_> = servers.iter().map(used).collect();
        let versions: BTreeSet<_> = servers.iter().map(|(_, sha256)| sha256).collect();
        if versions.len() > 1 {
            found.push(ConnectorDifference { name: name.clone(), servers });
        }
    }
    found
}

/// A difference, since when it is seen, and whether it was logged.
type SeenDifference = (ConnectorDifference, Instant, bool);

/// Logs each difference once it has lasted. `seen` has those of the last time.
fn log_lasting_differences(
    differences: Vec<ConnectorDifference>,
    seen: &mut BTreeMap<String, SeenDifference>,
) {
    let mut now = BTreeMap::new();
    for difference in differences {
        let before = seen.get(&difference.name).filter(|(before, ..)| *before == difference);
        let (since, is_logged) =
            before.map_or((Instant::now(), false), |(_, since, is_logged)| (*since, *is_logged));
        let lasts = since.elapsed() > LOGGED_AFTER;
        if lasts && !is_logged {
            let servers = difference.describe();
            tracing::warn!(
                connector = difference.name,
                servers,
                "the servers use different versions of a connector"
            );
        }
        now.insert(difference.name.clone(), (difference, since, lasts));
    }
    *seen = now;
}

impl ConnectorDifference {
    /// Which server uses which version, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let one = |(server, sha256): &(String, Option<String>)| match sha256 {
            Some(sha256) => format!("{server}: {}", sha256.get(..12).unwrap_or(sha256)),
            None => format!("{server}: none"),
        };
        self.servers.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;

    /// The lines that were logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        fn lines(&self) -> usize {
            self.0.lock().expect("no test panicked").split(|byte| *byte == b'\n').count() - 1
        }
    }

    fn server(label: &str, connectors: &[(&str, &str)]) -> LoadedConnectors {
        let owned = |(name, sha256): &(&str, &str)| ((*name).to_owned(), (*sha256).to_owned());
        LoadedConnectors {
            server: Uuid::new_v4(),
            label: label.to_owned(),
            at: Timestamp::UNIX_EPOCH,
            connectors: connectors.iter().map(owned).collect(),
        }
    }

    #[test]
    fn another_version_and_a_missing_connector_are_differences() {
        let same = [("a", "1"), ("b", "2")];
        assert_eq!(differences(&[server("x", &same), server("y", &same)]), []);
        assert_eq!(differences(&[server("x", &same)]), []);
        let found = differences(&[server("x", &same), server("y", &[("a", "3")])]);
        assert_eq!(found.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(found[0].describe(), "x: 1, y: 3");
        assert_eq!(found[1].describe(), "x: 2, y: none");
    }

    #[test]
    fn a_difference_is_logged_once_it_has_lasted() {
        let found = || differences(&[server("x", &[("a", "1")]), server("y", &[("a", "2")])]);
        let (log, mut seen) = (Log::default(), BTreeMap::new());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..2 {
                log_lasting_differences(found(), &mut seen);
            }
            assert_eq!(log.lines(), 0, "it may be a replacement in progress");
            seen.get_mut("a").expect("the difference").1 -= LOGGED_AFTER;
            for _ in 0..2 {
                log_lasting_differences(found(), &mut seen);
            }
            assert_eq!(log.lines(), 1);
            log_lasting_differences(Vec::new(), &mut seen);
            log_lasting_differences(found(), &mut seen);
            assert_eq!(log.lines(), 1, "it has not lasted");
        });
    }
}
