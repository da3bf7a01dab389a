//! Resolves names with the operating system. A name server that does not answer delays only the
//! connections that use it.
//!
//! The system's call blocks a thread and cannot be cancelled. Each look-up has a thread of its own,
//! and there are few: one for each name of a connection, a few for each connection, a limit for
//! all. A second request for a name that is being looked up waits for the same answer.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::ConnectionId;

/// Maximum number of look-ups of one connection at a time.
const OF_CONNECTION_MAX: usize = 4;
/// Maximum number of look-ups, and so of their threads, of all connections at a time.
const LOOKUPS_MAX: usize = 256;

/// The source of a name's addresses; tests replace it.
#[async_trait]
pub(crate) trait Resolver: Send + Sync {
    /// Returns all addresses of a name that a connection needs.
    async fn resolve(&self, connection: ConnectionId, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The blocking call of the operating system.
type Lookup = fn(&str) -> io::Result<Vec<IpAddr>>;

/// The addresses, or the kind and text of an error; `None` until the look-up ends.
type Answer = Option<Result<Vec<IpAddr>, (io::ErrorKind, String)>>;

/// Resolves names with the operating system.
pub(crate) struct SystemResolver {
    lookup: Lookup,
    in_progress: Arc<InProgress>,
}

struct InProgress {
    by_name: Mutex<HashMap<(ConnectionId, String), watch::Receiver<Answer>>>,
    /// Changes whenever a look-up ends.
    ended: watch::Sender<()>,
}

impl SystemResolver {
    pub(crate) fn new() -> Self {
        Self::with(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    fn with(lookup: Lookup) -> Self {
        let in_progress = InProgress { by_name: Mutex::default(), ended: watch::Sender::new(()) };
        Self { lookup, in_progress: Arc::new(in_progress) }
    }

    /// Joins the look-up of this name, or starts it. `None`: too many look-ups are in progress.
    fn join_or_start(
        &self,
        connection: ConnectionId,
        name: &str,
    ) -> io::Result<Option<watch::Receiver<Answer>>> {
        let key = (connection, name.to_owned());
        let mut by_name = self.in_progress.by_name.lock();
        if let Some(answer) = by_name.get(&key) {
            return Ok(Some(answer.clone()));
        }
        let own = by_name.keys().filter(|(whose, _)| *whose == connection).count();
        // Half of the places are kept for connections that have no look-up in progress.
        let own_max = if by_name.len() < LOOKUPS_MAX / 2 { OF_CONNECTION_MAX } else { 1 };
        if own >= own_max || by_name.len() >= LOOKUPS_MAX {
            return Ok(None);
        }
        let (sender, answer) = watch::channel(None);
        let (lookup, in_progress) = (self.lookup, Arc::clone(&self.in_progress));
        let ended = key.clone();
        std::thread::Builder::new().name("resolve".to_owned()).spawn(move || {
            let found = lookup(&ended.1).map_err(|error| (error.kind(), error.to_string()));
            in_progress.by_name.lock().remove(&ended);
            sender.send_replace(Some(found));
            in_progress.ended.send_replace(());
        })?;
        by_name.insert(key, answer.clone());
        Ok(Some(answer))
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, connection: ConnectionId, name: &str) -> io::Result<Vec<IpAddr>> {
        loop {
            let mut ended = self.in_progress.ended.subscribe();
            let Some(mut answer) = self.join_or_start(connection, name)? else {
                // This wait needs no limit, because the caller has a deadline.
                let _ = ended.changed().await;
                continue;
            };
            let found = answer.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
            let stopped = || Err((io::ErrorKind::Other, "the look-up ended early".to_owned()));
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

    static ANSWERS: Mutex<bool> = Mutex::new(false);
    static ANSWERED: Condvar = Condvar::new();
    static STARTED: AtomicUsize = AtomicUsize::new(0);

    /// A look-up of a name that begins with `silent` lasts until the test lets it end.
    fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
        if name.starts_with("silent") {
            STARTED.fetch_add(1, Ordering::SeqCst);
            ANSWERED.wait_while(&mut ANSWERS.lock(), |answers| !*answers);
        }
        Ok(vec![IpAddr::from([5, 5, 5, 5])])
    }

    #[tokio::test]
    async fn a_silent_name_server_holds_up_a_few_threads_and_no_other_connection() {
        let resolver = Arc::new(SystemResolver::with(lookup));
        let [hung, good] = [1, 2].map(|number| ConnectionId(Uuid::from_u128(number)));
        let asked: Vec<_> = (0..660)
            .map(|number| {
                let resolver = Arc::clone(&resolver);
                let name = format!("silent{}", number % 10);
                tokio::spawn(async move { resolver.resolve(hung, &name).await })
            })
            .collect();
        let found = resolver.resolve(good, "tracker").await.unwrap();
        assert_eq!(found, [IpAddr::from([5, 5, 5, 5])]);
        assert!(STARTED.load(Ordering::SeqCst) <= OF_CONNECTION_MAX);
        *ANSWERS.lock() = true;
        ANSWERED.notify_all();
        let all = timeout(Duration::from_secs(10), join_all(asked)).await.unwrap();
        assert!(all.into_iter().all(|found| found.unwrap().is_ok()));
        assert!(resolver.in_progress.by_name.lock().is_empty());
    }
}
