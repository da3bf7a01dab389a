//! `jackfield events replay`: makes the recorded calls of an event again, and shows what differs.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::Args;

use crate::api::{EnumString, EventReplay, ReplayEvent, ReplayedRequest, ReplayedRun};
use crate::cli::client::{Answer, Client};
use crate::cli::filter::enum_value;
use crate::cli::ids::IdPrefix;
use crate::cli::key_value;
use crate::cli::output::{Column, Output, cells, eprint, print, shortened, table};
use crate::domain::{Call, Difference};

#[derive(Args)]
pub(in crate::cli) struct Replay {
    /// The id of the event, or its beginning
    id: IdPrefix,
    /// The beginning of the SHA-256 of a version of the connector, or `newest` [default: the
    /// version that ran]
    #[arg(long, value_name = "HASH")]
    version: Option<String>,
    /// Only recorded runs of this export [default: all]
    #[arg(long, value_parser = enum_value::<Call>())]
    call: Option<Call>,
    /// Change a setting for the replay
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Handle the webhook request once more, as if Test Manager had sent it again
    #[arg(long, conflicts_with_all = ["version", "call", "set"])]
    for_real: bool,
}

const REQUESTS: [Column<ReplayedRequest>; 4] = [
    ("DIFFERENCE", |it| match it.changed.as_slice() {
        [] => it.difference.to_string(),
        parts => format!("{}: {}", it.difference, parts.join(", ")),
    }),
    ("METHOD", |it| shown(it, |text| text.method.clone())),
    ("URL", |it| shown(it, |text| text.url.clone())),
    ("ANSWERED", |it| it.status.map(|it| it.to_string()).unwrap_or_default()),
];

fn shown(it: &ReplayedRequest, part: fn(&crate::api::RequestText) -> String) -> String {
    it.replayed.as_ref().or(it.recorded.as_ref()).map(part).unwrap_or_default()
}

impl Replay {
    pub(super) fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let id = self.id.resolve(admin, "event")?;
        let settings = key_value::settings(&self.set, || None)?.into_iter();
        let body = ReplayEvent {
            version: self.version,
            call: self.call.map(EnumString),
            settings: settings.map(|(name, value)| (name, Some(value))).collect::<BTreeMap<_, _>>(),
            for_real: self.for_real,
        };
        let answer: Answer<EventReplay> = admin.post(&format!("/events/{id}/replay"), &body)?;
        let replay = answer.decode()?;
        if output.json {
            output.print_record(answer.json());
        } else if let Some(repeated) = &replay.for_real {
            print(&format!("answered {}: {}", repeated.status, repeated.answer));
            repeated.event.into_iter().for_each(|event| output.print_event_id(event));
        } else {
            replay.runs.iter().for_each(print_run);
        }
        match replay.for_real {
            Some(repeated) if repeated.status >= 400 => {
                bail!("the webhook request was answered {}", repeated.status)
            }
            _ => Ok(()),
        }
    }
}

fn print_run(it: &ReplayedRun) {
    let run = &it.run;
    let hash = |sha256: &str| sha256.chars().take(8).collect::<String>();
    let verdict = if it.is_same { "the same as recorded" } else { "not the same as recorded" };
    print(&format!(
        "{} by version {} ({}), recorded with {} ({}): {verdict}",
        run.call,
        run.connector_version,
        hash(&run.connector_sha256),
        it.recorded_version,
        hash(&it.recorded_sha256),
    ));
    if !it.requests.is_empty() {
        let headings = REQUESTS.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        print(&table(headings, it.requests.iter().map(|row| cells(&REQUESTS, row)).collect()));
    }
    let changed = it.requests.iter().filter(|it| it.difference.0 == Difference::Changed);
    changed.for_each(print_changes);
    match &it.recorded_answer {
        Some(recorded) if *recorded != it.answer => {
            print(&format!("recorded answer: {recorded}\nanswer now:      {}", it.answer));
        }
        _ => print(&format!("answer: {}", it.answer)),
    }
    for line in &run.log {
        print(&format!("  {} ms {}: {}", line.at_ms, line.level, shortened(&line.message)));
    }
    if let Some(why) = &it.missing {
        eprint(&format!("warning: the recording is incomplete: {why}"));
    }
}

/// Prints where each changed part first differs.
fn print_changes(it: &ReplayedRequest) {
    let (Some(recorded), Some(replayed)) = (&it.recorded, &it.replayed) else { return };
    for part in &it.changed {
        let of = |text: &crate::api::RequestText| match part.as_str() {
            "url" => text.url.clone(),
            "body" => text.body.clone().unwrap_or_else(|| format!("{} bytes", text.body_bytes)),
            _ => {
                let lines = text.headers.iter().map(|it| format!("{}: {}", it.name, it.value));
                lines.collect::<Vec<_>>().join("; ")
            }
        };
        let (before, after) = difference(&of(recorded), &of(replayed));
        print(&format!("  {part}: recorded {before:?}, now {after:?}"));
    }
}

/// Two texts from shortly before their first difference on.
fn difference(one: &str, other: &str) -> (String, String) {
    let common = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let from = common.saturating_sub(20);
    let part = |text: &str| text.chars().skip(from).take(80).collect();
    (part(one), part(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_what_precedes_it() {
        let before = "x".repeat(30);
        let shown = difference(&format!("{before}old"), &format!("{before}newer"));
        assert_eq!(shown, (format!("{}old", "x".repeat(20)), format!("{}newer", "x".repeat(20))));
    }
}
