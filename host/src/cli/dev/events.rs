//! Prints the events of one connector when they end, with the log and the outbound calls of each
//! run.

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

const POLL_PERIOD: Duration = Duration::from_millis(300);
/// Each request reads this number of the newest events of all connectors. Older events are not
/// printed when they end.
const POLL_EVENTS_MAX: u32 = 50;

/// Prints the events of one connector that end, or get another outcome, after this value was
/// created.
pub(super) struct EventFollower {
    admin: Arc<Client>,
    connector: ConnectorName,
    /// The newest events that were handled, with their outcomes. An event is handled again only if
    /// its outcome changes.
    handled_events: HashSet<(Uuid, OutcomeCode)>,
}

impl EventFollower {
    pub(super) fn skip_existing(
        admin: Arc<Client>,
        connector: &ConnectorName,
    ) -> anyhow::Result<Self> {
        let mut follower =
            Self { admin, connector: connector.clone(), handled_events: HashSet::new() };
        follower.handled_events = follower.newest_events()?.iter().map(event_key).collect();
        Ok(follower)
    }

    /// Prints events until `stop` is cancelled. If an event cannot be read, the next repetition of
    /// the loop reads the event again.
    pub(super) fn follow(&mut self, output: Output, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Ok(events) = self.newest_events() {
                let (handled, new): (Vec<_>, Vec<_>) = events
                    .iter()
                    .rev()
                    .partition(|event| self.handled_events.contains(&event_key(event)));
                let printed =
                    new.into_iter().filter(|event| self.print_if_ended(event, output).is_ok());
                self.handled_events = printed.chain(handled).map(event_key).collect();
            }
            std::thread::sleep(POLL_PERIOD);
        }
    }

    fn newest_events(&self) -> anyhow::Result<Vec<Event>> {
        let query = EventQuery { limit: Some(POLL_EVENTS_MAX), ..EventQuery::default() };
        let page = self.admin.get::<EventList>(&with_query("/events", &query)?)?;
        Ok(page.decode()?.events)
    }

    fn print_if_ended(&self, event: &Event, output: Output) -> anyhow::Result<()> {
        if event.outcome.0 == OutcomeCode::Running || !self.belongs_to_connector(event)? {
            return Ok(());
        }
        let answer = self.admin.get_by_name::<EventWithRuns>("event", &event.id.to_string())?;
        if output.is_json {
            print_json_line(answer.json());
        } else {
            print(&timeline::format_summary(&answer.decode()?));
        }
        Ok(())
    }

    fn belongs_to_connector(&self, event: &Event) -> anyhow::Result<bool> {
        let all: ConnectionList = self.admin.get("/connections")?.decode()?;
        let connection = all.connections.iter().find(|it| Some(it.id) == event.connection);
        Ok(connection.is_some_and(|it| it.connector == self.connector.as_str()))
    }
}

fn event_key(event: &Event) -> (Uuid, OutcomeCode) {
    (event.id, event.outcome.0)
}
