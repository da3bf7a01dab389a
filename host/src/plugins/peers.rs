//! Compares the connectors that the servers of one database have loaded, and reports differences.
//!
//! This file never changes a connector. With `plugins_source = "folder"`, a person must remove the
//! differences.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::domain::Clock;
use crate::store::{ConnectorStore, ServerReport, StoreError};
use crate::transport::host_name;

use super::catalog::Catalog;

/// A server reports its loaded connectors again after about this time if no connector changes.
const REPORT_PERIOD: Duration = Duration::from_secs(10);
/// Minimum time between two reports.
const REPORT_PERIOD_MIN: Duration = Duration::from_millis(200);
/// If a server has not reported for this time, it counts as shut down.
const REPORT_AGE_MAX: SignedDuration = SignedDuration::from_secs(25);
/// A difference is logged only if it lasts longer than this. Shorter differences are normal: files
/// are not replaced on all servers at the same time, and the last report of a killed server counts
/// until it is too old.
const LOG_DELAY: Duration = Duration::from_secs(26);

/// A connector of which the servers of one database use different versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorDifference {
    /// The name of the connector.
    pub name: String,
    /// The name of each server, and the SHA-256 of the version that it uses, if it has one.
    pub servers: Vec<(String, Option<String>)>,
}

/// Stores the reports of this server, and reads the reports of all servers.
pub(super) struct Peers {
    store: Arc<dyn ConnectorStore>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    /// The random id of this server in its reports.
    server: Uuid,
    /// The name of this server for people: host name and process id.
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

    /// Reports the loaded connectors, and logs differences between the servers. Never returns.
    pub(super) async fn run(self: Arc<Self>) {
        let mut snapshots = self.catalog.changes();
        let mut known_differences = BTreeMap::new();
        loop {
            snapshots.mark_unchanged();
            match self.store_report().await {
                Ok(()) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot store the report of this server's connectors")
                }
            }
            match self.differences().await {
                Ok(differences) => log_lasting_differences(differences, &mut known_differences),
                Err(error) => {
                    tracing::debug!(%error, "cannot read the reports of the servers' connectors")
                }
            }
            sleep(REPORT_PERIOD_MIN).await;
            tokio::select! {
                Ok(()) = snapshots.changed() => {}
                () = sleep(REPORT_PERIOD) => {}
            }
        }
    }

    async fn store_report(&self) -> Result<(), StoreError> {
        let (_, snapshot) = self.catalog.numbered_snapshot();
        let loaded = snapshot.iter().filter_map(|(name, entry)| {
            Some((name.clone(), entry.newest_loaded.as_ref()?.sha256().to_owned()))
        });
        let connectors = loaded.collect();
        let (server, label, at) = (self.server, self.label.clone(), self.clock.now());
        self.store.store_server_report(ServerReport { server, label, at, connectors }).await
    }

    pub(super) async fn delete_own_report(&self) {
        if let Err(error) = self.store.delete_server_report(self.server).await {
            tracing::debug!(%error, "cannot delete the report of this server's connectors");
        }
    }

    pub(super) async fn differences(&self) -> Result<Vec<ConnectorDifference>, StoreError> {
        let since = self.clock.now().checked_sub(REPORT_AGE_MAX).unwrap_or(Timestamp::MIN);
        Ok(find_differences(&self.store.server_reports(since).await?))
    }
}

fn find_differences(servers: &[ServerReport]) -> Vec<ConnectorDifference> {
    let names: BTreeSet<&String> =
        servers.iter().flat_map(|server| server.connectors.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        let version_at =
            |server: &ServerReport| (server.label.clone(), server.connectors.get(name).cloned());
        let servers: Vec<_> = servers.iter().map(version_at).collect();
        let versions: BTreeSet<_> = servers.iter().map(|(_, sha256)| sha256).collect();
        if versions.len() > 1 {
            differences.push(ConnectorDifference { name: name.clone(), servers });
        }
    }
    differences
}

/// A difference, the instant at which it was found first, and whether it was logged.
type KnownDifference = (ConnectorDifference, Instant, bool);

/// Logs each difference once, when it has lasted for [`LOG_DELAY`]. `known_differences` contains
/// the differences that the last call found.
fn log_lasting_differences(
    differences: Vec<ConnectorDifference>,
    known_differences: &mut BTreeMap<String, KnownDifference>,
) {
    let mut current = BTreeMap::new();
    for difference in differences {
        let before =
            known_differences.get(&difference.name).filter(|(before, ..)| *before == difference);
        let (since, is_logged) =
            before.map_or((Instant::now(), false), |(_, since, is_logged)| (*since, *is_logged));
        let has_lasted = since.elapsed() > LOG_DELAY;
        if has_lasted && !is_logged {
            let servers = difference.describe();
            tracing::warn!(
                connector = difference.name,
                servers,
                "the servers use different versions of a connector"
            );
        }
        current.insert(difference.name.clone(), (difference, since, has_lasted));
    }
    *known_differences = current;
}

impl ConnectorDifference {
    /// Returns a text that names the version of each server.
    #[must_use]
    pub fn describe(&self) -> String {
        let describe_server = |(server, sha256): &(String, Option<String>)| match sha256 {
            Some(sha256) => format!("{server}: {}", sha256.get(..12).unwrap_or(sha256)),
            None => format!("{server}: none"),
        };
        self.servers.iter().map(describe_server).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use super::*;

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
        fn line_count(&self) -> usize {
            self.0.lock().expect("no test panicked").split(|byte| *byte == b'\n').count() - 1
        }
    }

    fn server(label: &str, connectors: &[(&str, &str)]) -> ServerReport {
        let owned = |(name, sha256): &(&str, &str)| ((*name).to_owned(), (*sha256).to_owned());
        ServerReport {
            server: Uuid::new_v4(),
            label: label.to_owned(),
            at: Timestamp::UNIX_EPOCH,
            connectors: connectors.iter().map(owned).collect(),
        }
    }

    #[test]
    fn another_version_and_a_missing_connector_are_differences() {
        let same = [("a", "1"), ("b", "2")];
        assert_eq!(find_differences(&[server("x", &same), server("y", &same)]), []);
        assert_eq!(find_differences(&[server("x", &same)]), []);
        let found = find_differences(&[server("x", &same), server("y", &[("a", "3")])]);
        assert_eq!(found.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(found[0].describe(), "x: 1, y: 3");
        assert_eq!(found[1].describe(), "x: 2, y: none");
    }

    #[test]
    fn a_difference_is_logged_once_when_it_has_lasted_for_the_delay() {
        let found = || find_differences(&[server("x", &[("a", "1")]), server("y", &[("a", "2")])]);
        let (log, mut known_differences) = (Log::default(), BTreeMap::new());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..2 {
                log_lasting_differences(found(), &mut known_differences);
            }
            assert_eq!(log.line_count(), 0, "the servers may be replacing the file now");
            known_differences.get_mut("a").expect("the difference").1 -= LOG_DELAY;
            for _ in 0..2 {
                log_lasting_differences(found(), &mut known_differences);
            }
            assert_eq!(log.line_count(), 1);
            log_lasting_differences(Vec::new(), &mut known_differences);
            log_lasting_differences(found(), &mut known_differences);
            assert_eq!(log.line_count(), 1, "the difference has not lasted");
        });
    }
}
