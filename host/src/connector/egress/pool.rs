//! Idle connections of one [`Access`](crate::connector::Access), by origin.
//!
//! Never shared between connections of the host, never kept past half a minute, never used for a
//! write after a second of idleness.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Effect, Origin};

use super::connect::{Sender, Wire};

/// Idle connections of one origin.
const IDLE_MAX: usize = 8;
/// How long a connection may be idle for a read.
const IDLE_READ_MAX: Duration = Duration::from_secs(30);
/// How long for everything else: the longer it was idle, the likelier the other side is closing it
/// while the request is on its way.
pub(super) const IDLE_WRITE_MAX: Duration = Duration::from_secs(1);
/// How long a connection gets to be ready again once its answer was read.
const READY_MAX: Duration = Duration::from_millis(50);

/// Idle connections, by origin.
#[derive(Default)]
pub(in crate::connector) struct Pool {
    idle: Arc<Mutex<Idle>>,
}

#[derive(Default)]
struct Idle {
    wires: HashMap<Origin, Vec<(Wire, Instant)>>,
    /// Whether a task is at work that lets go of what is idle for too long.
    reaped: bool,
}

impl Pool {
    /// The connection to this origin that was used last, if it is fit for such a request now.
    pub(super) fn take(&self, origin: &Origin, effect: Effect, now: Instant) -> Option<Wire> {
        let most = if effect == Effect::Read { IDLE_READ_MAX } else { IDLE_WRITE_MAX };
        let mut idle = lock(&self.idle);
        let wires = idle.wires.get_mut(origin)?;
        while let Some((wire, since)) = wires.pop() {
            if now.saturating_duration_since(since) >= most {
                wires.push((wire, since));
                return None;
            }
            match &wire.sender {
                Sender::Http1(sender) if sender.is_ready() => return Some(wire),
                Sender::Http2(sender) if sender.is_ready() => {
                    let shared = Sender::Http2(sender.clone());
                    wires.push((wire, since));
                    return Some(Wire { sender: shared, proxied: None });
                }
                _ => {}
            }
        }
        None
    }

    /// Takes a connection whose answer was read whole.
    pub(super) async fn give(&self, origin: &Origin, mut wire: Wire) {
        let ready = match &mut wire.sender {
            Sender::Http1(sender) => {
                matches!(tokio::time::timeout(READY_MAX, sender.ready()).await, Ok(Ok(())))
            }
            Sender::Http2(sender) => sender.is_ready(),
        };
        if !ready {
            return;
        }
        let mut idle = lock(&self.idle);
        let wires = idle.wires.entry(origin.clone()).or_default();
        if matches!(wire.sender, Sender::Http2(_)) {
            // Its clones share one connection: one of them is enough.
            wires.retain(|(kept, _)| matches!(kept.sender, Sender::Http1(_)));
        }
        if wires.len() >= IDLE_MAX {
            wires.remove(0);
        }
        wires.push((wire, Instant::now()));
        if !idle.reaped {
            idle.reaped = true;
            tokio::spawn(reap(Arc::downgrade(&self.idle)));
        }
    }
}

/// Lets go of what is idle for too long; ends when nothing is left.
async fn reap(idle: Weak<Mutex<Idle>>) {
    loop {
        tokio::time::sleep(IDLE_READ_MAX).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut idle = lock(&idle);
        for wires in idle.wires.values_mut() {
            wires.retain(|(_, since)| since.elapsed() < IDLE_READ_MAX);
        }
        idle.wires.retain(|_, wires| !wires.is_empty());
        if idle.wires.is_empty() {
            idle.reaped = false;
            return;
        }
    }
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = lock(&self.idle);
        f.debug_map().entries(idle.wires.iter().map(|(o, wires)| (o, wires.len()))).finish()
    }
}
