//! Notifications about changes of the store, mostly changes by other servers that share its
//! database.
//!
//! A notification only names the changed object; its receiver reads the object from the store. If
//! notifications are lost, [`Change::Missed`] arrives.

use std::future;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::domain::{ConnectionId, DefectId};

/// Maximum number of unread notifications of a subscriber. If a subscriber has more, its oldest
/// notifications are lost.
const UNREAD_MAX: usize = 1_024;

/// A change of the store, mostly by another server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// A connection was created, changed or deleted.
    Connection(ConnectionId),
    /// A server chose the version of a connector that all servers should use, or removed a
    /// connector.
    Connectors,
    /// A server has finished counting the defects of this project, with or without new counts.
    Counts(ConnectionId, String),
    /// The lease on this defect may have been given back. In a shared database, this is published
    /// only if a claim waits for the end of the lease.
    Defect(DefectId),
    /// Notifications were lost, so any object may have changed.
    Missed,
}

impl Change {
    /// Returns the payload of the notification about this change. `None` if this change is not sent
    /// to other servers.
    pub(super) fn to_text(&self) -> Option<String> {
        match self {
            Self::Connection(id) => Some(format!("connection {id}")),
            Self::Connectors => Some("connectors".to_owned()),
            Self::Counts(id, project) => Some(format!("counts {id} {project}")),
            Self::Defect(id) => Some(format!("defect {id}")),
            Self::Missed => None,
        }
    }

    /// Parses the payload of a notification. `None` if the payload is unknown, for example because
    /// a newer version of Jackfield sent the notification.
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

/// A subscription to changes of the store.
pub struct Changes(broadcast::Receiver<Change>);

impl Changes {
    /// Waits for the next change. If the store was dropped, waits forever.
    pub async fn next(&mut self) -> Change {
        match self.0.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(_)) => Change::Missed,
            Err(RecvError::Closed) => future::pending().await,
        }
    }
}

/// Publishes changes to the subscribers.
#[derive(Clone)]
pub(super) struct Publisher {
    subscribers: broadcast::Sender<Change>,
    /// Whether several servers share the database. The database then sends the notifications.
    is_shared: bool,
    /// Cancelled when the store is closed or dropped.
    pub(super) closed: CancellationToken,
}

impl Publisher {
    pub(super) fn for_unshared_database() -> Self {
        Self::new(false)
    }

    pub(super) fn for_shared_database() -> Self {
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

    /// Wakes the claims that wait for the end of the lease on this row. Does nothing in a shared
    /// database, where a trigger of the schema sends this notification.
    pub(super) fn notify_of_lease_end(&self, id: DefectId) {
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
    fn a_change_that_is_converted_to_text_and_parsed_is_the_same() {
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
    async fn a_subscriber_that_is_too_slow_is_notified_that_notifications_were_lost() {
        let publisher = Publisher::for_unshared_database();
        let mut changes = publisher.subscribe();
        for _ in 0..=UNREAD_MAX {
            publisher.publish(Change::Connectors);
        }
        assert_eq!(changes.next().await, Change::Missed);
        assert_eq!(changes.next().await, Change::Connectors);
    }
}
