//! What a server hears of the changes that others make in a database which they share.
//!
//! A message only says what has changed: read it from the store. A message may be lost, but then
//! [`Change::Missed`] arrives. In a database of one server, none ever arrives.

use std::future;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::domain::{ConnectionId, DefectId};

/// Maximum number of messages that a subscriber has not read yet.
const UNREAD_MAX: usize = 1_024;

/// Something that another server changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// A connection was created, changed or deleted.
    Connection(ConnectionId),
    /// The connectors of the store were changed.
    Connectors,
    /// The counts of this project of a connection, or nobody counts them any more.
    Counts(ConnectionId, String),
    /// Nobody holds the lease of this defect any more. Only told of defects for which a server waits; it
    /// also tells what this server did itself.
    Defect(DefectId),
    /// Messages were lost: everything may have changed.
    Missed,
}

impl Change {
    /// The message for other servers; `None`: there is nothing to tell.
    pub(super) fn to_text(&self) -> Option<String> {
        match self {
            Self::Connection(id) => Some(format!("connection {id}")),
            Self::Connectors => Some("connectors".to_owned()),
            Self::Counts(id, project) => Some(format!("counts {id} {project}")),
            Self::Defect(id) => Some(format!("defect {id}")),
            Self::Missed => None,
        }
    }

    /// Reads a message; `None`: a newer version sent it.
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

/// A subscription to the changes that other servers make.
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

/// Passes the changes on to the subscribers, until the store is closed.
#[derive(Clone)]
pub(super) struct Heard {
    subscribers: broadcast::Sender<Change>,
    pub(super) closed: CancellationToken,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            subscribers: broadcast::Sender::new(UNREAD_MAX),
            closed: CancellationToken::new(),
        }
    }
}

impl Heard {
    pub(super) fn subscribe(&self) -> Changes {
        Changes(self.subscribers.subscribe())
    }

    pub(super) fn hear(&self, change: Change) {
        // Without a subscriber, nobody has to know.
        let _ = self.subscribers.send(change);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_told() {
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
        let heard = Heard::default();
        let mut changes = heard.subscribe();
        for _ in 0..=UNREAD_MAX {
            heard.hear(Change::Connectors);
        }
        assert_eq!(changes.next().await, Change::Missed);
        assert_eq!(changes.next().await, Change::Connectors);
    }
}
