//! Resolves names with the operating system. A name server that does not answer should not delay
//! other connections of Jackfield.
//!
//! The system's call blocks a thread and cannot be cancelled, so each look-up has its own thread.
//! The number of threads is limited. Requests of a connection for the same name share a look-up.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::ConnectionId;

const LOOKUPS_OF_CONNECTION_MAX: usize = 4;
/// Maximum number of look-ups of all connections at a time. Each look-up has a thread.
const LOOKUPS_MAX: usize = 256;

#[async_trait]
pub(crate) trait Resolver: Send + Sync {
    /// Returns all addresses of a name.
    async fn resolve(&self, connection: ConnectionId, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The blocking call of the operating system that looks up a name.
type Lookup = fn(&str) -> io::Result<Vec<IpAddr>>;

/// The addresses of a name, or the kind and text of an error; `None` until the look-up ends.
type LookupResult = Option<Result<Vec<IpAddr>, (io::ErrorKind, String)>>;

pub(crate) struct SystemResolver {
    lookup: Lookup,
    lookups_in_progress: Arc<LookupsInProgress>,
}

struct LookupsInProgress {
    /// By the connection of Jackfield and the name.
    by_name: Mutex<HashMap<(ConnectionId, String), watch::Receiver<LookupResult>>>,
    /// Changes whenever a look-up ends.
    lookup_ended: watch::Sender<()>,
}

impl SystemResolver {
    pub(crate) fn new() -> Self {
        Self::with_lookup(|name| {
            Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
        })
    }

    fn with_lookup(lookup: Lookup) -> Self {
        let lookups_in_progress =
            LookupsInProgress { by_name: Mutex::default(), lookup_ended: watch::Sender::new(()) };
        Self { lookup, lookups_in_progress: Arc::new(lookups_in_progress) }
    }

    /// Returns a receiver for the result. Returns `None` if too many look-ups are in progress.
    fn join_or_start(
        &self,
        connection: ConnectionId,
        name: &str,
    ) -> io::Result<Option<watch::Receiver<LookupResult>>> {
        let key = (connection, name.to_owned());
        let mut by_name = self.lookups_in_progress.by_name.lock();
        if let Some(result) = by_name.get(&key) {
            return Ok(Some(result.clone()));
        }
        let of_connection = by_name.keys().filter(|(caller, _)| *caller == connection).count();
        // Half of the look-ups are reserved for connections that have no look-up in progress.
        let of_connection_max =
            if by_name.len() < LOOKUPS_MAX / 2 { LOOKUPS_OF_CONNECTION_MAX } else { 1 };
        if of_connection >= of_connection_max || by_name.len() >= LOOKUPS_MAX {
            return Ok(None);
        }
        let (sender, result) = watch::channel(None);
        let (lookup, lookups_in_progress) = (self.lookup, Arc::clone(&self.lookups_in_progress));
        let thread_key = key.clone();
        std::thread::Builder::new().name("resolve".to_owned()).spawn(move || {
            let found = lookup(&thread_key.1).map_err(|error| (error.kind(), error.to_string()));
            lookups_in_progress.by_name.lock().remove(&thread_key);
            sender.send_replace(Some(found));
            lookups_in_progress.lookup_ended.send_replace(());
        })?;
        by_name.insert(key, result.clone());
        Ok(Some(result))
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, connection: ConnectionId, name: &str) -> io::Result<Vec<IpAddr>> {
        loop {
            let mut ended = self.lookups_in_progress.lookup_ended.subscribe();
            let Some(mut result) = self.join_or_start(connection, name)? else {
                // This wait has no time limit, because the caller has a deadline.
                let _ = ended.changed().await;
                continue;
            };
            let found = result.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
            let stopped =
                || Err((io::ErrorKind::Other, "the look-up ended without a result".to_owned()));
            return found
                .unwrap_or_else(stopped)
                .map_err(|(kind, text)| io::Error::new(kind, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;
    use parking_lot::Condvar;
    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;

    /// Whether look-ups of names that begin with `silent` may end.
    static MAY_ANSWER: Mutex<bool> = Mutex::new(false);
    static MAY_ANSWER_CHANGED: Condvar = Condvar::new();
    /// The number of started look-ups of names that begin with `silent`.
    static STARTED_SILENT_LOOKUPS: AtomicUsize = AtomicUsize::new(0);

    fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
        if name.starts_with("silent") {
            STARTED_SILENT_LOOKUPS.fetch_add(1, Ordering::SeqCst);
            MAY_ANSWER_CHANGED.wait_while(&mut MAY_ANSWER.lock(), |may_answer| !*may_answer);
        }
        Ok(vec![IpAddr::from([5, 5, 5, 5])])
    }

    #[tokio::test]
    async fn a_silent_name_server_blocks_only_a_few_threads_and_no_other_connection() {
        let resolver = Arc::new(SystemResolver::with_lookup(lookup));
        let [silent_connection, other_connection] =
            [1, 2].map(|number| ConnectionId(Uuid::from_u128(number)));
        let silent_lookups: Vec<_> = (0..660)
            .map(|number| {
                let resolver = Arc::clone(&resolver);
                let name = format!("silent{}", number % 10);
                tokio::spawn(async move { resolver.resolve(silent_connection, &name).await })
            })
            .collect();
        let found = resolver.resolve(other_connection, "tracker").await.unwrap();
        assert_eq!(found, [IpAddr::from([5, 5, 5, 5])]);
        assert!(STARTED_SILENT_LOOKUPS.load(Ordering::SeqCst) <= LOOKUPS_OF_CONNECTION_MAX);
        *MAY_ANSWER.lock() = true;
        MAY_ANSWER_CHANGED.notify_all();
        let results = timeout(Duration::from_secs(10), join_all(silent_lookups)).await.unwrap();
        assert!(results.into_iter().all(|found| found.unwrap().is_ok()));
        assert!(resolver.lookups_in_progress.by_name.lock().is_empty());
    }
}
