//! The options of `jackfield invoke` that contain the arguments of the call.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use uuid::Uuid;

use crate::app::{AnswerSource, Invocation};
use crate::domain::{Call, FailedTest, Marker};
use crate::http::failed_test;
use crate::report::{TestData, sample_test_data};

use super::read_text;

/// The arguments of the call.
#[derive(Args)]
pub(super) struct CallOptions {
    /// A file with the body of a Create Defect request [default: random ids]
    #[arg(long, value_name = "FILE")]
    pub(super) event: Option<PathBuf>,
    /// Fill the report with sample data; without --sample-data and --test-data, the report has only
    /// the ids of the failed test
    #[arg(long, conflicts_with = "test_data")]
    pub(super) sample_data: bool,
    /// Fill the report with the data of this JSON file
    #[arg(long, value_name = "FILE")]
    pub(super) test_data: Option<PathBuf>,
    /// Notes for people at the end of the report's texts. Only a recording can set these notes.
    #[arg(skip)]
    pub(super) notes: Vec<String>,
    /// The marker [default: the one of the failed test]
    #[arg(long)]
    pub(super) marker: Option<Marker>,
    /// The key of a defect in the tracker, for state, comment, find-comment, reopen, attach,
    /// attached
    #[arg(long)]
    pub(super) key: Option<String>,
    /// The id of an attachment in the report, for attach [default: 0]
    #[arg(long, value_name = "ID")]
    pub(super) attachment: Option<u32>,
    /// The Test Manager project, for kpis [default: random]
    #[arg(long, value_name = "ID")]
    pub(super) project: Option<String>,
    /// The setting whose values are listed, for choices
    #[arg(long, value_name = "KEY")]
    pub(super) setting: Option<String>,
    /// The search text that a person has typed, for choices
    #[arg(long, value_name = "TEXT")]
    pub(super) search: Option<String>,
}

impl CallOptions {
    /// Returns an error if the call does not use one of the given options, or if it needs a missing
    /// option.
    pub(super) fn check_for_call(
        &self,
        call: Call,
        name: &str,
        answer_source: &AnswerSource,
    ) -> anyhow::Result<()> {
        let uses_test = matches!(call, Call::Create | Call::Comment | Call::Attach);
        let uses_marker = matches!(
            call,
            Call::Create | Call::Find | Call::Comment | Call::FindComment | Call::Attach
        );
        let uses_key = matches!(
            call,
            Call::State
                | Call::Comment
                | Call::FindComment
                | Call::Reopen
                | Call::Attach
                | Call::Attached
        );
        for (option, is_given, is_used) in [
            ("event", self.event.is_some(), uses_marker),
            ("sample-data", self.sample_data, uses_test),
            ("test-data", self.test_data.is_some(), uses_test),
            ("marker", self.marker.is_some(), uses_marker || call == Call::Reopen),
            ("key", self.key.is_some(), uses_key),
            ("attachment", self.attachment.is_some(), call == Call::Attach),
            ("project", self.project.is_some(), call == Call::Count),
            ("setting", self.setting.is_some(), call == Call::Choices),
            ("search", self.search.is_some(), call == Call::Choices),
        ] {
            if is_given && !is_used {
                bail!("{name} does not use --{option}: omit this option");
            }
        }
        let is_marker_unknown = self.event.is_none() && self.marker.is_none();
        if matches!(call, Call::Find | Call::FindComment) && is_marker_unknown {
            bail!("{name} needs --marker MARKER, or --event FILE of the failed test");
        }
        if uses_key && self.key.is_none() {
            bail!("{name} needs --key KEY, the key of a defect in the tracker");
        }
        if call == Call::Choices && self.setting.is_none() {
            bail!("{name} needs --setting KEY, a setting that is marked `jackfield:lookup`");
        }
        let uses_recording = !matches!(answer_source, AnswerSource::Tracker);
        if uses_recording && matches!(call, Call::Create | Call::Comment) && self.event.is_none() {
            bail!(
                "{name} with --record or --replay needs --event FILE: requests are compared, and \
                 random ids would differ each time"
            );
        }
        if uses_recording && call == Call::Count && self.project.is_none() {
            bail!(
                "{name} with --record or --replay needs --project ID: requests are compared, and \
                 a random id would differ each time"
            );
        }
        Ok(())
    }

    pub(super) fn into_invocation(self, file: PathBuf, call: Call) -> anyhow::Result<Invocation> {
        let random = || Ok(FailedTest::new(Uuid::new_v4(), Uuid::new_v4(), None, None));
        Ok(Invocation {
            file,
            call,
            test: self.event.as_deref().map_or_else(random, read_failed_test)?,
            marker: self.marker,
            key: self.key.unwrap_or_default(),
            attachment: self.attachment.unwrap_or(0),
            project: self.project.unwrap_or_else(|| Uuid::new_v4().to_string()),
            choices_query: (self.setting.unwrap_or_default(), self.search.unwrap_or_default()),
            test_data: match (self.sample_data, self.test_data.as_deref()) {
                (true, _) => Some(sample_test_data()),
                (false, file) => file.map(read_test_data).transpose()?,
            },
            notes: self.notes,
        })
    }
}

pub(in crate::cli) fn read_failed_test(file: &Path) -> anyhow::Result<FailedTest> {
    let test = failed_test(&read_text(file)?);
    test.with_context(|| format!("{} is not the body of a Create Defect request", file.display()))
}

fn read_test_data(file: &Path) -> anyhow::Result<TestData> {
    let data = serde_json::from_str(&read_text(file)?);
    data.with_context(|| format!("{} is not test data: see --help", file.display()))
}
