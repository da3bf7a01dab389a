//! Notifications of changes of the store, mostly by other servers that share its database.
//!
//! A notification only says what has changed: read it from the store. Notifications may be lost,
//! but then [`Change::Missed`] arrives.

use std::future;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::domain::{ConnectionId, DefectId};

/// Maximum number of notifications that a subscriber has not read yet.
const UNREAD_MAX: usize = 1_024;

/// A change of the store, mostly by another server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// A connection was created, changed or deleted.
    Connection(ConnectionId),
    /// The connectors of the store were changed.
    Connectors,
    /// A server has ended its request for the counts of this project, with or without new counts.
    /// Also published if it is this server.
    Counts(ConnectionId, String),
    /// The lease of this defect was given back. Another server notifies of it only if a claim waits
    /// for it. Also published if this server gave it back.
    Defect(DefectId),
    /// Notifications were lost: everything may have changed.
    Missed,
}

impl Change {
    /// The payload of the notification; `None`: other servers get none.
    pub(super) fn to_text(&self) -> Option<String> {
        match self {
            Self::Connection(id) => Some(format!("connection {id}")),
            Self::Connectors => Some("connectors".to_owned()),
            Self::Counts(id, project) => Some(format!("counts {id} {project}")),
            Self::Defect(id) => Some(format!("defect {id}")),
            Self::Missed => None,
        }
    }

    /// Reads a payload; `None`: not known here, for example from a newer version.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        match kind {
            "connection" => Some(Self::Connection(ConnectionId(rest.parse().ok()?))),
            "connectors" => Some(Self::Connectors),
            "counts" => {
                let (id, project) = rest.split_once(' ')?;
                Some(Self::Counts(ConnectionId(id.parse().ok()?), project.to_owned()))
            }
            "defect" => Some(Self::Defect(DefectId(rest.parse().ok()?))),
            _ => None,
        }
    }
}

/// A subscription to changes of the store, mostly by other servers.
pub struct Changes(broadcast::Receiver<Change>);

impl Changes {
    /// Waits for the next change.
    pub async fn next(&mut self) -> Change {
        match self.0.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(_)) => Change::Missed,
            Err(RecvError::Closed) => future::pending().await,
        }
    }
}

/// Publishes changes to the subscribers, until the store is closed.
#[derive(Clone)]
pub(super) struct Publisher {
    subscribers: broadcast::Sender<Change>,
    /// Whether the database notifies all its servers.
    is_shared: bool,
    pub(super) closed: CancellationToken,
}

impl Publisher {
    /// For a store that no other process uses.
    pub(super) fn of_one_server() -> Self {
        Self::new(false)
    }

    /// For a store whose database notifies of changes.
    pub(super) fn of_several_servers() -> Self {
        Self::new(true)
    }

    fn new(is_shared: bool) -> Self {
        let subscribers = broadcast::Sender::new(UNREAD_MAX);
        Self { subscribers, is_shared, closed: CancellationToken::new() }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }

    pub(super) fn subscribe(&self) -> Changes {
        Changes(self.subscribers.subscribe())
    }

    pub(super) fn publish(&self, change: Change) {
        // An error means that there are no subscribers.
        let _ = self.subscribers.send(change);
    }

    /// Wakes the claims that wait for the end of a row's lease. A shared database does it itself.
    pub(super) fn lease_ended(&self, id: DefectId) {
        if !self.is_shared {
            self.publish(Change::Defect(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_change_survives_its_text() {
        let (id, defect) = (ConnectionId(Uuid::from_u128(1)), DefectId(Uuid::from_u128(2)));
        for change in [
            Change::Connection(id),
            Change::Connectors,
            Change::Counts(id, "Web shop / QA".to_owned()),
            Change::Defect(defect),
        ] {
            let text = change.to_text().unwrap();
            assert_eq!(Change::from_text(&text), Some(change));
        }
        assert_eq!(Change::Missed.to_text(), None);
        for other in ["", "weather", "connection", "counts 7", "defect 7"] {
            assert_eq!(Change::from_text(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_subscriber_that_was_too_slow_hears_that_it_missed_something() {
        let publisher = Publisher::of_one_server();
        let mut changes = publisher.subscribe();
        for _ in 0..=UNREAD_MAX {
            publisher.publish(Change::Connectors);
        }
        assert_eq!(changes.next().await, Change::Missed);
        assert_eq!(changes.next().await, Change::Connectors);
    }
}
