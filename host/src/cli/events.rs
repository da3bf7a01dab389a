//! `jackfield events`: what came in and what became of it.

use std::collections::HashSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Server};
use super::output::{Column, Output, complain, say};

/// How often `tail` asks: a person watches.
const TAIL_PERIOD: Duration = Duration::from_secs(1);
/// How many `tail` asks for; more than these within a period are shown by `list` only.
const TAIL_LIMIT: usize = 100;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Lists events, newest first
    List(Filter),
    /// Shows one event: runs, log, outbound calls, usage
    Show { id: String },
    /// Prints events as they come, until Ctrl-C
    Tail(Filter),
}

#[derive(Args)]
pub(super) struct Filter {
    /// Only those of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// From this instant on (RFC 3339)
    #[arg(long, value_name = "INSTANT")]
    since: Option<String>,
    /// Before this instant (RFC 3339)
    #[arg(long, value_name = "INSTANT")]
    until: Option<String>,
    /// Only those of this kind: create-defect, kpis, probe, check, sweep, unrecognised, no-connection
    #[arg(long)]
    kind: Option<String>,
    /// Only those that ended so: created, repeated, rejected, connector-broke, …
    #[arg(long)]
    outcome: Option<String>,
    /// At most so many, 1 to 200
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// Go on where `next` of an earlier answer points
    #[arg(long)]
    cursor: Option<String>,
}

const EVENTS: [Column; 6] = [
    ("RECEIVED", "/received_at"),
    ("KIND", "/kind"),
    ("STATUS", "/status"),
    ("CONNECTION", "/connection_name"),
    ("OUTCOME", "/outcome"),
    ("ID", "/id"),
];

impl Command {
    pub(super) fn run(self, server: &Server, output: Output) -> anyhow::Result<()> {
        let admin = server.admin()?;
        match self {
            Self::List(filter) => {
                let path = filter.path(filter.limit);
                output.list(&with_plain_outcomes(admin.get(&path)?, output), "events", &EVENTS);
            }
            Self::Show { id } => output.one(&admin.get(&format!("/events/{id}"))?),
            Self::Tail(filter) => tail(&admin, &filter, output)?,
        }
        Ok(())
    }
}

impl Filter {
    fn path(&self, limit: usize) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        let further = [
            ("connection", &self.connection),
            ("since", &self.since),
            ("until", &self.until),
            ("kind", &self.kind),
            ("outcome", &self.outcome),
            ("cursor", &self.cursor),
        ];
        for (name, value) in further {
            query.extend_pairs(value.as_ref().map(|value| (name, value)));
        }
        format!("/events?{}", query.finish())
    }
}

/// In a table an outcome is its word and its detail; JSON stays as the server sent it.
fn with_plain_outcomes(mut answer: Value, output: Output) -> Value {
    let events = answer.get_mut("events").and_then(Value::as_array_mut);
    for event in events.into_iter().flatten().filter(|_| !output.json) {
        let detail = event["detail"].as_str().unwrap_or_default();
        if let Some(word) = event["outcome"].as_str().filter(|_| !detail.is_empty()) {
            event["outcome"] = json!(format!("{word}: {detail}"));
        }
    }
    answer
}

fn tail(admin: &Client, filter: &Filter, output: Output) -> anyhow::Result<()> {
    let path = filter.path(TAIL_LIMIT);
    let mut known: Option<HashSet<String>> = None;
    loop {
        let answer = match admin.get(&path) {
            Ok(answer) => with_plain_outcomes(answer, output),
            // A server that restarts is waited for; one that was never there, or refuses, is told.
            Err(error) if known.is_some() && !admin.answers() => {
                complain(&error);
                std::thread::sleep(TAIL_PERIOD);
                continue;
            }
            Err(error) => return Err(error),
        };
        let events = answer["events"].as_array().cloned().unwrap_or_default();
        // An event is printed when it comes, and again when it has ended.
        let id = |event: &Value| format!("{} {}", event["id"], event["outcome"]);
        for event in events.iter().rev() {
            if known.as_ref().is_some_and(|known| !known.contains(&id(event))) {
                say(&line(event, output));
            }
        }
        known = Some(events.iter().map(id).collect());
        std::thread::sleep(TAIL_PERIOD);
    }
}

fn line(event: &Value, output: Output) -> String {
    if output.json {
        return event.to_string();
    }
    let word = |at: &str| match event.pointer(at) {
        Some(Value::String(text)) => text.replace(char::is_control, " "),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    EVENTS.iter().map(|(_, at)| word(at)).collect::<Vec<_>>().join("  ")
}
