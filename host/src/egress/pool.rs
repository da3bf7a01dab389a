//! Stores the idle HTTP connections of one [`ActiveConnection`](super::ActiveConnection), by
//! origin.
//!
//! Never shares an HTTP connection between two connections of Jackfield. In the other sentences of
//! this file, a connection is an HTTP connection.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::{Effect, Origin};

use crate::transport::{HttpConnection, Sender};

/// Maximum number of idle connections to one origin.
const IDLE_CONNECTIONS_MAX: usize = 8;
/// A read gets a connection from the pool only if it was idle for less than this time.
const IDLE_FOR_READ_MAX: Duration = Duration::from_secs(30);
/// A request that is not a read gets a connection from the pool only if it was idle for less than
/// this time. The longer a connection is idle, the more probable it is that the tracker is closing
/// it.
pub(super) const IDLE_FOR_WRITE_MAX: Duration = Duration::from_secs(1);
/// After an answer was read, the host waits at most this long until the connection is ready for the
/// next request.
const READY_WAIT_MAX: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(super) struct Pool {
    idle: Arc<Mutex<IdleConnections>>,
    /// Origins that refused a request with the HTTP/2 error code `HTTP_1_1_REQUIRED`. New
    /// connections to them use HTTP/1.1.
    http1_only: Mutex<BTreeSet<Origin>>,
}

#[derive(Default)]
struct IdleConnections {
    connections: HashMap<Origin, Vec<HttpConnection>>,
    is_cleanup_running: bool,
}

impl Pool {
    /// Limits new connections to this origin to HTTP/1.1, and drops the idle connections to it.
    pub(super) fn require_http1(&self, origin: &Origin) {
        self.http1_only.lock().insert(origin.clone());
        self.idle.lock().connections.remove(origin);
    }

    pub(super) fn requires_http1(&self, origin: &Origin) -> bool {
        self.http1_only.lock().contains(origin)
    }

    /// Returns the most recently used connection to this origin that is ready, if a request with
    /// this effect may use it. An HTTP/1.1 connection is removed from the pool. An HTTP/2
    /// connection stays in the pool, because requests can share it.
    pub(super) fn take(
        &self,
        origin: &Origin,
        effect: Effect,
        now: Instant,
    ) -> Option<HttpConnection> {
        let idle_max = if effect == Effect::Read { IDLE_FOR_READ_MAX } else { IDLE_FOR_WRITE_MAX };
        let mut idle = self.idle.lock();
        let connections = idle.connections.get_mut(origin)?;
        while let Some(connection) = connections.pop() {
            let idle_since = connection.idle_since;
            if now.saturating_duration_since(idle_since) >= idle_max {
                connections.push(connection);
                return None;
            }
            match &connection.sender {
                Sender::Http1(sender) if sender.is_ready() => return Some(connection),
                Sender::Http2(sender) if sender.is_ready() => {
                    let shared = Sender::Http2(sender.clone());
                    connections.push(connection);
                    return Some(HttpConnection {
                        sender: shared,
                        forwarding_proxy: None,
                        idle_since,
                    });
                }
                _ => {}
            }
        }
        None
    }

    /// Stores a connection for later requests if it is ready for the next one. The answer to its
    /// last request must have been read completely.
    pub(super) async fn put_back(&self, origin: &Origin, mut connection: HttpConnection) {
        let is_ready = match &mut connection.sender {
            Sender::Http1(sender) => {
                matches!(tokio::time::timeout(READY_WAIT_MAX, sender.ready()).await, Ok(Ok(())))
            }
            Sender::Http2(sender) => sender.is_ready(),
            Sender::Recorded => false,
        };
        if !is_ready {
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = self.idle.lock();
        let connections = idle.connections.entry(origin.clone()).or_default();
        if matches!(connection.sender, Sender::Http2(_)) {
            // Clones share one HTTP/2 connection, so one clone is enough.
            connections.retain(|kept| matches!(kept.sender, Sender::Http1(_)));
        }
        if connections.len() >= IDLE_CONNECTIONS_MAX {
            connections.remove(0);
        }
        connections.push(connection);
        if !idle.is_cleanup_running {
            idle.is_cleanup_running = true;
            tokio::spawn(close_expired_connections(Arc::downgrade(&self.idle)));
        }
    }
}

/// Every `IDLE_FOR_READ_MAX`, closes the connections that were idle for at least this time. Ends
/// when no idle connection remains or the pool is dropped.
async fn close_expired_connections(idle: Weak<Mutex<IdleConnections>>) {
    loop {
        tokio::time::sleep(IDLE_FOR_READ_MAX).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut idle = idle.lock();
        for connections in idle.connections.values_mut() {
            connections.retain(|kept| kept.idle_since.elapsed() < IDLE_FOR_READ_MAX);
        }
        idle.connections.retain(|_, connections| !connections.is_empty());
        if idle.connections.is_empty() {
            idle.is_cleanup_running = false;
            return;
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.idle.lock();
        f.debug_map()
            .entries(
                idle.connections.iter().map(|(origin, connections)| (origin, connections.len())),
            )
            .finish()
    }
}
