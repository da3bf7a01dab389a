//! Prints the events of one connector when they end, with the log and the calls of each run.

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

/// How often the newest events are requested from the server.
const POLL_PERIOD: Duration = Duration::from_millis(300);
/// Number of events in one request. If more arrive within one period, the oldest are not printed.
const POLL_EVENTS_MAX: u32 = 50;

/// Prints the events that arrive after its creation.
pub(super) struct EventFollower {
    admin: Arc<Client>,
    connector: ConnectorName,
    /// The newest events that need no printing: printed already, or older than the follower.
    handled: HashSet<(Uuid, OutcomeCode)>,
}

impl EventFollower {
    /// Creates a follower. It does not print the events that the server already has.
    pub(super) fn start(admin: Arc<Client>, connector: &ConnectorName) -> anyhow::Result<Self> {
        let mut follower = Self { admin, connector: connector.clone(), handled: HashSet::new() };
        follower.handled = follower.newest_events()?.iter().map(event_key).collect();
        Ok(follower)
    }

    /// Prints events until `stop` is cancelled. If an event cannot be read, the next round tries
    /// again.
    pub(super) fn follow(&mut self, output: Output, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Ok(events) = self.newest_events() {
                let (handled, new): (Vec<_>, Vec<_>) =
                    events.iter().rev().partition(|event| self.handled.contains(&event_key(event)));
                let printed =
                    new.into_iter().filter(|event| self.print_if_ended(event, output).is_ok());
                self.handled = printed.chain(handled).map(event_key).collect();
            }
            std::thread::sleep(POLL_PERIOD);
        }
    }

    fn newest_events(&self) -> anyhow::Result<Vec<Event>> {
        let query = EventQuery { limit: Some(POLL_EVENTS_MAX), ..EventQuery::default() };
        let page = self.admin.get::<EventList>(&with_query("/events", &query)?)?;
        Ok(page.decode()?.events)
    }

    /// Prints the event if it has ended and belongs to this connector.
    fn print_if_ended(&self, event: &Event, output: Output) -> anyhow::Result<()> {
        if event.outcome.0 == OutcomeCode::Running || !self.is_of_connector(event)? {
            return Ok(());
        }
        let answer = self.admin.get_by_name::<EventWithRuns>("event", &event.id.to_string())?;
        if output.json {
            print_json_line(answer.json());
        } else {
            print(&timeline::format_summary(&answer.decode()?));
        }
        Ok(())
    }

    fn is_of_connector(&self, event: &Event) -> anyhow::Result<bool> {
        let all: ConnectionList = self.admin.get("/connections")?.decode()?;
        let connection = all.connections.iter().find(|it| Some(it.id) == event.connection);
        Ok(connection.is_some_and(|it| it.connector == self.connector.as_str()))
    }
}

/// The identity of an event with its outcome: an event is printed again when its outcome changes.
fn event_key(event: &Event) -> (Uuid, OutcomeCode) {
    (event.id, event.outcome.0)
}
