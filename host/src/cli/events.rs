//! `jackfield events`: lists, shows and follows events.

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
use super::filter::{Page, enum_value};
use super::ids::{IdPrefix, Row, short_id, with_short_ids};
use super::ordered::Json;
use super::output::{Column, Output, cells, one_line, optional, print, print_json_line, shortened};
use super::server::ServerArgs;
use super::{timeline, units};

/// How often `tail` asks the server.
const TAIL_PERIOD: Duration = Duration::from_secs(1);
/// How many events `tail` asks for. If more arrive within one period, `tail` misses some; use
/// `list`.
const TAIL_ROWS: u32 = 100;

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
        filter: Filter,
        #[command(flatten)]
        page: Page,
    },
    /// Show one event: request, outcome, and the outbound calls, log and use of limits of each run
    #[command(after_help = "\
Examples:
  jackfield events show 01a2b3c4
  jackfield events show --last --connection qa")]
    Show(Show),
    /// Make the recorded calls of an event again without the tracker, and show what differs
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
        filter: Filter,
    },
}

#[derive(Args)]
pub(super) struct Show {
    /// The id of the event, or its beginning
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
pub(super) struct Filter {
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
    #[arg(long, value_parser = enum_value::<EventKind>())]
    kind: Option<EventKind>,
    /// Only events with this outcome
    #[arg(long, value_parser = enum_value::<OutcomeCode>())]
    outcome: Option<OutcomeCode>,
    /// Only events of this id, defect, test case or failed test (its link), or with these words in
    /// their error
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
}

impl Filter {
    fn query(self, limit: u32, cursor: Option<Uuid>) -> EventQuery {
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

const EVENTS: [Column<Row<Event>>; 6] = [
    ("RECEIVED", |row| units::time(row.it.received_at.0)),
    ("KIND", |row| row.it.kind.to_string()),
    ("STATUS", |row| optional(row.it.status.as_ref())),
    ("CONNECTION", |row| optional(row.it.connection_name.as_ref())),
    ("OUTCOME", |row| match row.it.detail.as_str() {
        "" => row.it.outcome.to_string(),
        detail => format!("{}: {}", row.it.outcome, shortened(detail)),
    }),
    ("ID", |row| row.id.clone()),
];

impl Command {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let admin = server.admin()?;
        match self {
            Self::List { filter, page } => {
                let path = with_query("/events", &filter.query(page.limit, page.cursor))?;
                let list: Answer<EventList> = admin.get(&path)?;
                output.print_list(&list, "events", &EVENTS, |page| {
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
            None => last(admin, self.connection)?,
        };
        let event: Answer<EventWithRuns> = admin.get_by_name("event", &id.to_string())?;
        if output.json {
            output.print_record(event.json());
        } else {
            print(&timeline::event(&event.decode()?));
        }
        Ok(())
    }
}

/// The newest event, of any connection or of this one.
fn last(admin: &Client, connection: Option<String>) -> anyhow::Result<Uuid> {
    let query = EventQuery { connection, limit: Some(1), ..EventQuery::default() };
    let page: Answer<EventList> = admin.get(&with_query("/events", &query)?)?;
    page.decode()?.events.first().map(|event| event.id).context("there is no event yet")
}

/// Prints each event when it arrives, and again when its outcome changes.
fn tail(admin: &Client, filter: Filter, output: Output) -> anyhow::Result<()> {
    let path = with_query("/events", &filter.query(TAIL_ROWS, None))?;
    let mut printed: Option<HashSet<(Uuid, OutcomeCode)>> = None;
    loop {
        match admin.get::<EventList>(&path) {
            Ok(answer) => {
                let events = answer.decode()?.events;
                let key = |event: &Event| (event.id, event.outcome.0);
                for (event, json) in events.iter().cloned().zip(answer.json().list("events")).rev()
                {
                    if printed.as_ref().is_some_and(|printed| !printed.contains(&key(&event))) {
                        print_event(event, json, output);
                    }
                }
                printed = Some(events.iter().map(key).collect());
            }
            // Keep waiting if the server restarts. Fail if it never answered, or if it refuses the
            // request.
            Err(error) if printed.is_some() && !admin.is_healthy() => output.print_error(&error),
            Err(error) => return Err(error),
        }
        std::thread::sleep(TAIL_PERIOD);
    }
}

fn print_event(event: Event, json: &Json, output: Output) {
    if output.json {
        return print_json_line(json);
    }
    let row = Row { id: short_id(event.id), it: event };
    let words = cells(&EVENTS, &row).into_iter().map(|cell| match one_line(&cell) {
        empty if empty.is_empty() => "-".to_owned(),
        word => word,
    });
    print(&words.collect::<Vec<_>>().join("  "));
}
