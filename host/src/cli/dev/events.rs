//! Prints the events of one connector as they end, with the log and the calls of each run.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::api::{ConnectionList, Event, EventList, EventQuery, EventWithRuns};
use crate::cli::client::{Client, with_query};
use crate::cli::output::{Output, print, print_json_line};
use crate::cli::timeline;
use crate::domain::{ConnectorName, OutcomeCode};

/// How often the server is asked.
const PERIOD: Duration = Duration::from_millis(300);
/// How many events are asked for. Of more within one period, the oldest are not shown.
const ROWS: u32 = 50;

/// The events that are new since the start.
pub(super) struct EventFollower {
    admin: Arc<Client>,
    connector: ConnectorName,
    /// The newest events that were shown, or that were there before.
    seen: HashSet<(Uuid, OutcomeCode)>,
}

impl EventFollower {
    /// Events that the server has now are not shown.
    pub(super) fn start(admin: Arc<Client>, connector: &ConnectorName) -> anyhow::Result<Self> {
        let mut it = Self { admin, connector: connector.clone(), seen: HashSet::new() };
        it.seen = it.newest()?.iter().map(key).collect();
        Ok(it)
    }

    /// Prints events until it is stopped. An event that cannot be read now is printed later.
    pub(super) fn follow(&mut self, output: Output, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Ok(events) = self.newest() {
                let (seen, new): (Vec<_>, Vec<_>) =
                    events.iter().rev().partition(|event| self.seen.contains(&key(event)));
                let shown = new.into_iter().filter(|event| self.show(event, output).is_ok());
                self.seen = shown.chain(seen).map(key).collect();
            }
            std::thread::sleep(PERIOD);
        }
    }

    fn newest(&self) -> anyhow::Result<Vec<Event>> {
        let query = EventQuery { limit: Some(ROWS), ..EventQuery::default() };
        let page = self.admin.get::<EventList>(&with_query("/events", &query)?)?;
        Ok(page.decode()?.events)
    }

    /// Prints an event that has ended, if it is one of this connector.
    fn show(&self, event: &Event, output: Output) -> anyhow::Result<()> {
        if event.outcome.0 == OutcomeCode::Running || !self.is_own(event)? {
            return Ok(());
        }
        let answer = self.admin.get_by_name::<EventWithRuns>("event", &event.id.to_string())?;
        if output.json {
            print_json_line(answer.json());
        } else {
            print(&timeline::summary(&answer.decode()?));
        }
        Ok(())
    }

    fn is_own(&self, event: &Event) -> anyhow::Result<bool> {
        let all: ConnectionList = self.admin.get("/connections")?.decode()?;
        let connection = all.connections.iter().find(|it| Some(it.id) == event.connection);
        Ok(connection.is_some_and(|it| it.connector == self.connector.as_str()))
    }
}

/// An event is shown again when its outcome changes.
fn key(event: &Event) -> (Uuid, OutcomeCode) {
    (event.id, event.outcome.0)
}
