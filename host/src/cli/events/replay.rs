//! `jackfield events replay`: repeats the recorded runs of an event, and shows what differs. With
//! `--for-real`, the server handles the webhook request again.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::Args;

use crate::api::{EnumString, EventReplay, ReplayEvent, ReplayedRequest, ReplayedRun};
use crate::cli::client::{Answer, Client};
use crate::cli::filter::enum_value_parser;
use crate::cli::ids::IdPrefix;
use crate::cli::key_value;
use crate::cli::output::{Column, Output, cells, eprint, print, shortened, table};
use crate::domain::{Call, Difference, printable};

#[derive(Args)]
pub(in crate::cli) struct Replay {
    /// The id of the event, or the beginning of the id
    id: IdPrefix,
    /// The beginning of the SHA-256 of a version of the connector, or `newest` [default: the
    /// version that ran]
    #[arg(long, value_name = "HASH")]
    version: Option<String>,
    /// Replay only the recorded runs of this export [default: all runs]
    #[arg(long, value_parser = enum_value_parser::<Call>())]
    call: Option<Call>,
    /// Change a setting for the replay
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Handle the webhook request once more, as if Test Manager had sent it again
    #[arg(long, conflicts_with_all = ["version", "call", "set"])]
    for_real: bool,
}

const REQUEST_COLUMNS: [Column<ReplayedRequest>; 4] = [
    ("DIFFERENCE", |it| match it.changed.as_slice() {
        [] => it.difference.to_string(),
        parts => format!("{}: {}", it.difference, parts.join(", ")),
    }),
    ("METHOD", |it| request_part(it, |request| request.method.clone())),
    ("URL", |it| request_part(it, |request| request.url.clone())),
    ("ANSWERED", |it| it.status.map(|it| it.to_string()).unwrap_or_default()),
];

/// Returns a part of the replayed request, or of the recorded request if the replay did not send
/// it.
fn request_part(request: &ReplayedRequest, part: fn(&crate::api::RequestText) -> String) -> String {
    request.replayed.as_ref().or(request.recorded.as_ref()).map(part).unwrap_or_default()
}

impl Replay {
    pub(super) fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let id = self.id.resolve(admin, "event")?;
        let settings = key_value::parse_settings(&self.set, || None)?.into_iter();
        let body = ReplayEvent {
            version: self.version,
            call: self.call.map(EnumString),
            settings: settings.map(|(name, value)| (name, Some(value))).collect::<BTreeMap<_, _>>(),
            for_real: self.for_real,
        };
        let answer: Answer<EventReplay> =
            admin.waiting_for_compilation().post(&format!("/events/{id}/replay"), &body)?;
        let replay = answer.decode()?;
        if output.is_json {
            output.print_record(answer.json());
        } else if let Some(repeated) = &replay.for_real {
            let answer = printable(&repeated.answer.to_string());
            print(&format!("answered with HTTP {}: {answer}", repeated.status));
            repeated.event.into_iter().for_each(|event| output.print_event_id(event));
        } else {
            replay.runs.iter().for_each(print_run);
        }
        match replay.for_real {
            Some(repeated) if repeated.status >= 400 => {
                bail!("the repeated webhook request was answered with HTTP {}", repeated.status)
            }
            _ => Ok(()),
        }
    }
}

fn print_run(replayed: &ReplayedRun) {
    let run = &replayed.run;
    let short_hash = |sha256: &str| sha256.chars().take(8).collect::<String>();
    let verdict =
        if replayed.is_same { "the same as recorded" } else { "not the same as recorded" };
    print(&format!(
        "{} by version {} ({}), recorded with {} ({}): {verdict}",
        run.call,
        run.connector_version,
        short_hash(&run.connector_sha256),
        replayed.recorded_version,
        short_hash(&replayed.recorded_sha256),
    ));
    if !replayed.requests.is_empty() {
        let headings = REQUEST_COLUMNS.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let rows = replayed.requests.iter().map(|row| cells(&REQUEST_COLUMNS, row)).collect();
        print(&table(headings, rows));
    }
    let changed = replayed.requests.iter().filter(|it| it.difference.0 == Difference::Changed);
    changed.for_each(print_first_differences);
    match &replayed.recorded_answer {
        Some(recorded) if *recorded != replayed.answer => {
            print(&format!("recorded answer: {recorded}\nreplayed answer: {}", replayed.answer));
        }
        _ => print(&format!("answer: {}", replayed.answer)),
    }
    for line in &run.log {
        print(&format!("  {} ms {}: {}", line.at_ms, line.level, shortened(&line.message)));
    }
    if let Some(why) = &replayed.missing {
        eprint(&format!("warning: the recording is incomplete: {why}"));
    }
}

/// Prints the first difference of each part of the request that differs from the recording.
fn print_first_differences(request: &ReplayedRequest) {
    let (Some(recorded), Some(replayed)) = (&request.recorded, &request.replayed) else { return };
    for part in &request.changed {
        let part_text = |text: &crate::api::RequestText| match part.as_str() {
            "url" => text.url.clone(),
            "body" => text.body.clone().unwrap_or_else(|| format!("{} bytes", text.body_bytes)),
            _ => {
                let lines = text.headers.iter().map(|it| format!("{}: {}", it.name, it.value));
                lines.collect::<Vec<_>>().join("; ")
            }
        };
        let (before, after) = first_difference(&part_text(recorded), &part_text(replayed));
        print(&format!("  {part}: recorded {before:?}, replayed {after:?}"));
    }
}

/// Returns a part of each text. Both parts begin shortly before the first difference of the texts.
fn first_difference(one: &str, other: &str) -> (String, String) {
    let common = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let start = common.saturating_sub(20);
    let part = |text: &str| text.chars().skip(start).take(80).collect();
    (part(one), part(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_the_text_before_it() {
        let before = "x".repeat(30);
        let parts = first_difference(&format!("{before}old"), &format!("{before}newer"));
        assert_eq!(parts, (format!("{}old", "x".repeat(20)), format!("{}newer", "x".repeat(20))));
    }
}
