//! Calls an export that is chosen at run time. Never used for events: they use the functions of
//! [`Sandbox`] for single exports, whose arguments and results have exact types.

use std::sync::Arc;

use crate::domain::{
    Call, ChoicesPage, Counts, CurrentDefect, Defect, FailedTest, Journal, Marker,
};
use crate::manifest::Manifest;
use crate::runtime::test_report::TestReport;

use super::{RunEnd, RunInput, Sandbox};

/// The arguments of all exports. Each call uses only the arguments that its export has.
pub struct CallArguments<'a> {
    /// The failed test.
    pub test: &'a FailedTest,
    /// The marker that is stored or searched for.
    pub marker: &'a Marker,
    /// The key of a defect in the tracker.
    pub key: &'a str,
    /// The id of an attachment of the report.
    pub attachment: u32,
    /// The Test Manager project.
    pub project: &'a str,
    /// The setting whose values are listed, and the search text that a person has typed so far.
    pub choices_query: (&'a str, &'a str),
    /// The journal of the writes.
    pub journal: Arc<dyn Journal>,
    /// The data about the failed test that the connector may read.
    pub report: Arc<TestReport>,
}

/// The value that an export returned.
#[derive(Debug)]
pub enum ReturnedValue {
    /// For `describe`: the manifest that the connector returned when it was loaded.
    Manifest(Box<Manifest>),
    /// The result of `check`: a line of text.
    CheckText(String),
    /// The result of `choices`.
    Choices(ChoicesPage),
    /// The result of `create`.
    Defect(Defect),
    /// The result of `find`.
    FoundDefects(Vec<Defect>),
    /// The result of `count`.
    Counts(Counts),
    /// The result of `state`.
    State(Option<CurrentDefect>),
    /// The result of `find-comment`.
    HasComment(bool),
    /// The result of `attached`.
    AttachmentNames(Vec<String>),
    /// The result of `comment`, `reopen` and `attach`, which return no value.
    NoValue,
}

impl Sandbox {
    /// Calls one export of a connector.
    pub async fn call(
        &self,
        run: RunInput,
        call: Call,
        arguments: CallArguments<'_>,
    ) -> RunEnd<ReturnedValue> {
        use ReturnedValue as Answer;

        let CallArguments { test, marker, key, journal, report, .. } = arguments;
        match call {
            Call::Describe => {
                let manifest = Box::new(run.connector.manifest().clone());
                self.describe_again(run).await.map(|_| Answer::Manifest(manifest))
            }
            Call::Check => self.check(run).await.map(Answer::CheckText),
            Call::Choices => {
                let (setting, search) = arguments.choices_query;
                self.choices(run, setting, search).await.map(Answer::Choices)
            }
            Call::Create => {
                self.create(run, test, marker, journal, report).await.map(Answer::Defect)
            }
            Call::Find => self.find(run, marker).await.map(Answer::FoundDefects),
            Call::Count => self.count(run, arguments.project).await.map(Answer::Counts),
            Call::State => self.state(run, key).await.map(Answer::State),
            Call::Comment => {
                let end = self.comment(run, key, test, marker, journal, report).await;
                end.map(|()| Answer::NoValue)
            }
            Call::FindComment => self.find_comment(run, key, marker).await.map(Answer::HasComment),
            Call::Reopen => self.reopen(run, key, journal).await.map(|()| Answer::NoValue),
            Call::Attach => {
                let end = self.attach(run, key, arguments.attachment, journal, report).await;
                end.map(|()| Answer::NoValue)
            }
            Call::Attached => self.attached(run, key).await.map(Answer::AttachmentNames),
        }
    }
}

impl<T> RunEnd<T> {
    fn map<U>(self, convert: impl FnOnce(T) -> U) -> RunEnd<U> {
        let Self { outcome, report, writes } = self;
        RunEnd { outcome: outcome.map(convert), report, writes }
    }
}
