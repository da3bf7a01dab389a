//! `jackfield connections record`: starts and stops recording the bodies of a connection's requests
//! and answers.

use clap::Args;
use jiff::SignedDuration;

use crate::api::{Connection, EraseQuery, RecordConnection};
use crate::cli::client::{Answer, Client, with_query};
use crate::cli::output::Output;
use crate::cli::units;
use crate::domain::RECORD_S_MAX;

#[derive(Args)]
pub(in crate::cli) struct Record {
    /// The name or id of the connection
    name: String,
    /// How long to record bodies from now on, such as 30m or 1h; at most 24h
    #[arg(long = "for", value_name = "TIME", value_parser = parse_recording_seconds)]
    #[arg(required_unless_present = "off")]
    for_s: Option<u32>,
    /// Stop recording now
    #[arg(long, conflicts_with = "for_s")]
    off: bool,
    /// Delete what was recorded for this connection
    #[arg(long, requires = "off")]
    erase: bool,
}

impl Record {
    pub(super) fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let (name, path) = (&self.name, format!("{}/record", admin.connection_path(&self.name)?));
        let answer: Answer<Connection> = match self.for_s {
            Some(for_s) => admin.post(&path, &RecordConnection { for_s })?,
            None => admin.delete(&with_query(&path, &EraseQuery { erase: self.erase })?)?,
        };
        let sentence = match answer.decode()?.recording_until {
            Some(until) => format!(
                "the connection {name} records bodies until {}; they may contain personal data, \
                 and are deleted with their events",
                units::format_time(until.0)
            ),
            None if self.erase => {
                format!("the connection {name} records no bodies, and its recordings are deleted")
            }
            None => format!("the connection {name} records no bodies"),
        };
        output.print_result(&sentence, answer.json());
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum InvalidDuration {
    #[error("give a time such as 30m or 1h")]
    NotADuration,
    #[error("give at least 1s and at most 24h")]
    OutOfRange,
}

fn parse_recording_seconds(text: &str) -> Result<u32, InvalidDuration> {
    let time: SignedDuration = text.parse().map_err(|_| InvalidDuration::NotADuration)?;
    let seconds = u32::try_from(time.as_secs()).ok();
    let seconds = seconds.filter(|seconds| (1..=RECORD_S_MAX).contains(seconds));
    seconds.ok_or(InvalidDuration::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_lasts_at_least_a_second_and_at_most_a_day() {
        for (text, expected) in [("1h", 3_600), ("30m", 1_800), ("1h30m", 5_400), ("24h", 86_400)] {
            assert_eq!(parse_recording_seconds(text), Ok(expected), "{text}");
        }
        for wrong in ["", "1", "0s", "-1h", "25h", "24h1s", "1y", "soon"] {
            assert!(parse_recording_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
