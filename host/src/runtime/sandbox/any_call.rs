//! One call of a connector that is chosen at run time: for `invoke`, `test`, and the check of what
//! a script exports.
//!
//! Decides nothing: events use the functions of [`Sandbox`] that have their own arguments and
//! results.

use std::sync::Arc;

use crate::domain::{
    Call, ChoicesPage, Counts, CurrentDefect, Defect, FailedTest, Journal, Marker,
};
use crate::manifest::Manifest;
use crate::runtime::test_report::TestReport;

use super::{Run, RunEnd, Sandbox};

/// The arguments of any call. Each call uses those that its export has.
pub struct CallArguments<'a> {
    /// The failed test.
    pub test: &'a FailedTest,
    /// The marker of its defect.
    pub marker: &'a Marker,
    /// The key of a defect in the tracker.
    pub key: &'a str,
    /// The id of an attachment of the report.
    pub attachment: u32,
    /// The Test Manager project.
    pub project: &'a str,
    /// The setting whose values are listed, and what a person typed so far.
    pub choices_of: (&'a str, &'a str),
    /// Records each write before it is sent.
    pub journal: Arc<dyn Journal>,
    /// The data about the failed test that the connector may read.
    pub report: Arc<TestReport>,
}

/// The result of any call.
#[derive(Debug)]
pub enum ExportAnswer {
    /// `describe`.
    Manifest(Box<Manifest>),
    /// `check`.
    Line(String),
    /// `choices`.
    Choices(ChoicesPage),
    /// `create`.
    Defect(Defect),
    /// `find`.
    Found(Vec<Defect>),
    /// `count`.
    Counts(Counts),
    /// `state`.
    State(Option<CurrentDefect>),
    /// `find-comment`.
    HasComment(bool),
    /// `attached`.
    Names(Vec<String>),
    /// `comment`, `reopen`, `attach`.
    Done,
}

impl Sandbox {
    /// Makes one call of a connector.
    pub async fn call(
        &self,
        run: Run,
        call: Call,
        with: CallArguments<'_>,
    ) -> RunEnd<ExportAnswer> {
        use ExportAnswer as Answer;

        let CallArguments { test, marker, key, journal, report, .. } = with;
        match call {
            Call::Describe => {
                let manifest = Box::new(run.connector.manifest().clone());
                self.describe_again(run).await.map(|_| Answer::Manifest(manifest))
            }
            Call::Check => self.check(run).await.map(Answer::Line),
            Call::Choices => {
                let (setting, search) = with.choices_of;
                self.choices(run, setting, search).await.map(Answer::Choices)
            }
            Call::Create => {
                self.create(run, test, marker, journal, report).await.map(Answer::Defect)
            }
            Call::Find => self.find(run, marker).await.map(Answer::Found),
            Call::Count => self.count(run, with.project).await.map(Answer::Counts),
            Call::State => self.state(run, key).await.map(Answer::State),
            Call::Comment => {
                let end = self.comment(run, key, test, marker, journal, report).await;
                end.map(|()| Answer::Done)
            }
            Call::FindComment => self.find_comment(run, key, marker).await.map(Answer::HasComment),
            Call::Reopen => self.reopen(run, key, journal).await.map(|()| Answer::Done),
            Call::Attach => {
                let end = self.attach(run, key, with.attachment, journal, report).await;
                end.map(|()| Answer::Done)
            }
            Call::Attached => self.attached(run, key).await.map(Answer::Names),
        }
    }
}

impl<T> RunEnd<T> {
    /// The same end with another value.
    fn map<U>(self, convert: impl FnOnce(T) -> U) -> RunEnd<U> {
        let Self { outcome, report, writes } = self;
        RunEnd { outcome: outcome.map(convert), report, writes }
    }
}
