//! `jackfield events`: lists, shows and replays events, and prints new ones.

mod replay;

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use uuid::Uuid;

use crate::api::{EnumString, Event, EventList, EventQuery, EventWithRuns};
use crate::domain::{EventKind, OutcomeCode};

use super::client::{Answer, Client, with_query};
use super::filter::{PageArguments, enum_value_parser};
use super::ids::{IdPrefix, ListRow, short_id, with_short_ids};
use super::ordered::Json;
use super::output::{
    Column, Output, cells, one_line, print, print_json_line, shortened, text_or_empty,
};
use super::server::ServerArgs;
use super::{timeline, units};

const TAIL_PERIOD: Duration = Duration::from_secs(1);
/// Maximum number of events in the answer to a request of `events tail`. If more events arrive
/// within one period, `events tail` does not print the oldest of them.
const TAIL_EVENTS_MAX: u32 = 100;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List events, newest first
    #[command(after_help = "\
Examples:
  jackfield events list --connection qa --limit 10
  jackfield events list --search QA-17
  jackfield events list --kind unrecognised --since 2026-01-31T08:00:00Z")]
    List {
        #[command(flatten)]
        filter: EventFilter,
        #[command(flatten)]
        page: PageArguments,
    },
    /// Show one event: request, outcome, and the outbound calls, log and use of limits of each run
    #[command(after_help = "\
Examples:
  jackfield events show 01a2b3c4
  jackfield events show --last --connection qa")]
    Show(Show),
    /// Repeat the recorded runs of an event without the tracker, and show what differs
    #[command(
        disable_version_flag = true,
        after_help = "\
Requests are answered from the recording, and nothing leaves the server. Record a connection first:
  jackfield connections record qa --for 1h

Examples:
  jackfield events replay 01a2b3c4                      # the version that ran
  jackfield events replay 01a2b3c4 --version newest
  jackfield events replay 01a2b3c4 --for-real           # handles the webhook request once more"
    )]
    Replay(replay::Replay),
    /// Print new events and their outcomes until you press Ctrl-C
    Tail {
        #[command(flatten)]
        filter: EventFilter,
    },
}

#[derive(Args)]
pub(super) struct Show {
    /// The id of the event, or the beginning of the id
    #[arg(required_unless_present = "last")]
    id: Option<IdPrefix>,
    /// The newest event
    #[arg(long, conflicts_with = "id")]
    last: bool,
    /// The newest event of this connection
    #[arg(long, value_name = "NAME", requires = "last")]
    connection: Option<String>,
}

#[derive(Args)]
pub(super) struct EventFilter {
    /// Only events of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Only events from this time on (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only events before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only events of this kind
    #[arg(long, value_parser = enum_value_parser::<EventKind>())]
    kind: Option<EventKind>,
    /// Only events with this outcome
    #[arg(long, value_parser = enum_value_parser::<OutcomeCode>())]
    outcome: Option<OutcomeCode>,
    /// Only events whose id, defect, test case or link to the failed test is this text, or whose
    /// error contains these words
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

impl EventFilter {
    fn into_query(self, limit: u32, cursor: Option<Uuid>) -> EventQuery {
        EventQuery {
            since: self.since,
            until: self.until,
            connection: self.connection,
            kind: self.kind.map(EnumString),
            outcome: self.outcome.map(EnumString),
            search: self.search,
            cursor,
            limit: Some(limit),
        }
    }
}

const EVENT_COLUMNS: [Column<ListRow<Event>>; 6] = [
    ("RECEIVED", |row| units::format_time(row.record.received_at.0)),
    ("KIND", |row| row.record.kind.to_string()),
    ("STATUS", |row| text_or_empty(row.record.status.as_ref())),
    ("CONNECTION", |row| text_or_empty(row.record.connection_name.as_ref())),
    ("OUTCOME", |row| match row.record.detail.as_str() {
        "" => row.record.outcome.to_string(),
        detail => format!("{}: {}", row.record.outcome, shortened(detail)),
    }),
    ("ID", |row| row.short_id.clone()),
];

impl Command {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let admin = server.admin_client()?;
        match self {
            Self::List { filter, page } => {
                let path = with_query("/events", &filter.into_query(page.limit, page.cursor))?;
                let list: Answer<EventList> = admin.get(&path)?;
                output.print_list(&list, "events", &EVENT_COLUMNS, |page| {
                    (with_short_ids(page.events, |event| event.id), page.next)
                })
            }
            Self::Show(show) => show.run(&admin, output),
            Self::Replay(replay) => replay.run(&admin, output),
            Self::Tail { filter } => tail(&admin, filter, output),
        }
    }
}

impl Show {
    fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let id = match self.id {
            Some(id) => id.resolve(admin, "event")?,
            None => newest_event_id(admin, self.connection)?,
        };
        let event: Answer<EventWithRuns> = admin.get_by_name("event", &id.to_string())?;
        if output.is_json {
            output.print_record(event.json());
        } else {
            print(&timeline::format_event(&event.decode()?));
        }
        Ok(())
    }
}

fn newest_event_id(admin: &Client, connection: Option<String>) -> anyhow::Result<Uuid> {
    let query = EventQuery { connection, limit: Some(1), ..EventQuery::default() };
    let page: Answer<EventList> = admin.get(&with_query("/events", &query)?)?;
    page.decode()?.events.first().map(|event| event.id).context("there is no event yet")
}

/// Prints the events that arrive after the start of the command, and the events whose outcome
/// changes after the start. Looks only at the newest [`TAIL_EVENTS_MAX`] events in each period.
fn tail(admin: &Client, filter: EventFilter, output: Output) -> anyhow::Result<()> {
    let path = with_query("/events", &filter.into_query(TAIL_EVENTS_MAX, None))?;
    let mut printed: Option<HashSet<(Uuid, OutcomeCode)>> = None;
    loop {
        match admin.get::<EventList>(&path) {
            Ok(answer) => {
                let events = answer.decode()?.events;
                let key = |event: &Event| (event.id, event.outcome.0);
                for (event, json) in
                    events.iter().cloned().zip(answer.json().list_items("events")).rev()
                {
                    if printed.as_ref().is_some_and(|printed| !printed.contains(&key(&event))) {
                        print_event(event, json, output);
                    }
                }
                printed = Some(events.iter().map(key).collect());
            }
            // Continue while the server does not answer, because it may be restarting. Fail if it
            // never answered, or if it refuses the request.
            Err(error) if printed.is_some() && !admin.is_healthy() => output.print_error(&error),
            Err(error) => return Err(error),
        }
        std::thread::sleep(TAIL_PERIOD);
    }
}

fn print_event(event: Event, json: &Json, output: Output) {
    if output.is_json {
        return print_json_line(json);
    }
    let row = ListRow { short_id: short_id(event.id), record: event };
    let texts = cells(&EVENT_COLUMNS, &row).into_iter().map(|cell| match one_line(&cell) {
        empty if empty.is_empty() => "-".to_owned(),
        text => text,
    });
    print(&texts.collect::<Vec<_>>().join("  "));
}
