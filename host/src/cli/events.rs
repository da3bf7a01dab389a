//! `jackfield events`: lists, shows and follows events.

use std::collections::HashSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use uuid::Uuid;

use crate::api::{EnumString, Event, EventList, EventQuery, EventWithRuns};
use crate::domain::{EventKind, OutcomeCode};

use super::client::{Answer, Client, with_query};
use super::filter::{Page, enum_value};
use super::ordered::Json;
use super::output::{
    Column, Output, cells, one_line, optional, print, print_error, print_json_line,
};
use super::server::ServerArgs;

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
  jackfield events list --kind unrecognised --since 2026-01-31T08:00:00Z")]
    List {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        page: Page,
    },
    /// Show one event: request, outcome, and the log, outbound calls and usage of each run
    Show {
        /// The id of the event
        id: Uuid,
    },
    /// Print new events and their outcomes until you press Ctrl-C
    Tail {
        #[command(flatten)]
        filter: Filter,
    },
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
}

impl Filter {
    fn query(self, limit: u32, cursor: Option<Uuid>) -> EventQuery {
        EventQuery {
            since: self.since,
            until: self.until,
            connection: self.connection,
            kind: self.kind.map(EnumString),
            outcome: self.outcome.map(EnumString),
            cursor,
            limit: Some(limit),
        }
    }
}

const EVENTS: [Column<Event>; 6] = [
    ("RECEIVED", |it| it.received_at.to_string()),
    ("KIND", |it| it.kind.to_string()),
    ("STATUS", |it| optional(it.status.as_ref())),
    ("CONNECTION", |it| optional(it.connection_name.as_ref())),
    ("OUTCOME", |it| match it.detail.as_str() {
        "" => it.outcome.to_string(),
        detail => format!("{}: {detail}", it.outcome),
    }),
    ("ID", |it| it.id.to_string()),
];

impl Command {
    pub(super) fn run(self, server: &ServerArgs, output: Output) -> anyhow::Result<()> {
        let admin = server.admin()?;
        match self {
            Self::List { filter, page } => {
                let path = with_query("/events", &filter.query(page.limit, page.cursor))?;
                let list: Answer<EventList> = admin.get(&path)?;
                output.print_list(&list, "events", &EVENTS, |it| (it.events, it.next))
            }
            Self::Show { id } => {
                let event: Answer<EventWithRuns> = admin.get_by_name("event", &id.to_string())?;
                output.print_record(event.json());
                Ok(())
            }
            Self::Tail { filter } => tail(&admin, filter, output),
        }
    }
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
                for (event, json) in events.iter().zip(answer.json().list("events")).rev() {
                    if printed.as_ref().is_some_and(|printed| !printed.contains(&key(event))) {
                        print_event(event, json, output);
                    }
                }
                printed = Some(events.iter().map(key).collect());
            }
            // Keep waiting if the server restarts. Fail if it never answered, or if it refuses the
            // request.
            Err(error) if printed.is_some() && !admin.is_healthy() => print_error(&error),
            Err(error) => return Err(error),
        }
        std::thread::sleep(TAIL_PERIOD);
    }
}

fn print_event(event: &Event, json: &Json, output: Output) {
    if output.json {
        return print_json_line(json);
    }
    let words = cells(&EVENTS, event).into_iter().map(|cell| match one_line(&cell) {
        empty if empty.is_empty() => "-".to_owned(),
        word => word,
    });
    print(&words.collect::<Vec<_>>().join("  "));
}
