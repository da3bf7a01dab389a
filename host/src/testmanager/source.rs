//! Reads the data of one failed test from Test Manager: as [`TestData`], as JSON or as files. A
//! part that cannot be read becomes a gap.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::domain::{FailedTest, OutboundCall};
use crate::report::{Attachment, DownloadError, Gap, Subject, TestData, TestDataSource};

use super::failure::Failure;
use super::parts::Parts;
use super::shared::FetchContext;
use super::{download, parse};

pub(super) struct TestSource {
    context: Arc<FetchContext>,
    parts: Parts,
}

/// The log, and the parts of the data whose requests contain the log's id.
const LOG_SUBJECTS: [Subject; 4] =
    [Subject::TestCaseLog, Subject::Assertions, Subject::Attachments, Subject::Steps];

impl TestSource {
    pub(super) fn new(context: Arc<FetchContext>, test: FailedTest) -> Self {
        Self { context, parts: Parts::new(test) }
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.parts
    }
}

#[async_trait]
impl TestDataSource for TestSource {
    async fn fetch(&self, subjects: &BTreeSet<Subject>, read_until: Instant) -> TestData {
        let mut data = TestData::from_webhook_ids(self.parts.test());
        if subjects.is_empty() {
            return data;
        }
        let mut subjects = subjects.clone();
        if subjects.contains(&Subject::Attachments) {
            // The assertions are fetched too, because their screenshots count as attachments.
            subjects.insert(Subject::Assertions);
        }
        if LOG_SUBJECTS.iter().any(|subject| subjects.contains(subject)) {
            self.parts.mark_log_needed();
        }
        let client = match self.context.client(read_until) {
            Ok(client) => client,
            Err(failure) => {
                data.gaps =
                    merge_gaps(subjects.into_iter().map(|subject| (subject, failure.clone())));
                return data;
            }
        };
        let fetching = subjects.iter().map(|subject| self.parts.get_or_fetch(&client, *subject));
        let mut missing = Vec::new();
        let mut notes = Vec::new();
        for (subject, part) in subjects.iter().zip(join_all(fetching).await) {
            match part {
                Ok(found) => {
                    parse::set_fields_of_subject(&mut data, *subject, &found.value);
                    notes.extend(
                        found
                            .note
                            .map(|why| Gap { what: name_in_sentence(*subject).to_owned(), why }),
                    );
                }
                Err(failure) => missing.push((*subject, failure)),
            }
        }
        data.gaps = merge_gaps(missing);
        data.gaps.append(&mut notes);
        data
    }

    async fn subject_json(&self, subject: Subject, read_until: Instant) -> Result<String, Gap> {
        let fetching = async {
            let client = self.context.client(read_until)?;
            self.parts.get_or_fetch(&client, subject).await
        };
        match fetching.await {
            Ok(found) => Ok(found.value.to_string()),
            Err(failure) => Err(gap(name_in_sentence(subject), &failure)),
        }
    }

    async fn download(
        &self,
        attachment: &Attachment,
        bytes_max: u64,
        read_until: Instant,
    ) -> Result<Bytes, DownloadError> {
        let content = download::download_content(
            &self.context,
            &self.parts,
            attachment,
            bytes_max,
            read_until,
        );
        content.await.map_err(|failure| DownloadError {
            gap: gap(&format!("the file {:?}", attachment.name), &failure),
            is_too_large: matches!(failure, Failure::TooLarge(_)),
        })
    }

    fn calls(&self, measured_from: Instant) -> Vec<OutboundCall> {
        self.context.calls(measured_from)
    }
}

fn name_in_sentence(subject: Subject) -> &'static str {
    match subject {
        Subject::Project => "the project",
        Subject::TestCase => "the test case",
        Subject::TestExecution => "the test execution",
        Subject::TestCaseLog => "the log of the failed test",
        Subject::Assertions => "the assertions",
        Subject::RobotLogs => "the robot's log",
        Subject::Attachments => "the attachments",
        Subject::Requirements => "the requirements",
        Subject::Labels => "the labels",
        Subject::CustomFields => "the custom fields",
        Subject::TestSet => "the test set",
        Subject::Steps => "the test steps",
        Subject::History => "the earlier results",
    }
}

fn gap(what: &str, failure: &Failure) -> Gap {
    Gap { what: what.to_owned(), why: failure.why().to_owned() }
}

/// Converts missing parts into gaps. All parts with the same reason become one gap.
fn merge_gaps(missing: impl IntoIterator<Item = (Subject, Failure)>) -> Vec<Gap> {
    let mut reasons: Vec<(Failure, Vec<&str>)> = Vec::new();
    for (subject, failure) in missing {
        match reasons.iter_mut().find(|(other, _)| *other == failure) {
            Some((_, names)) => names.push(name_in_sentence(subject)),
            None => reasons.push((failure, vec![name_in_sentence(subject)])),
        }
    }
    let to_gap = |(failure, names): (Failure, Vec<&str>)| gap(&join_names(&names), &failure);
    reasons.into_iter().map(to_gap).collect()
}

/// Joins names for a sentence: "a, b and c".
fn join_names(names: &[&str]) -> String {
    match names {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        names => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_with_the_same_reason_become_one_gap() {
        let token = Failure::Token("no token".to_owned());
        let other = Failure::Other("Test Manager answered 500".to_owned());
        let missing = [
            (Subject::Project, token.clone()),
            (Subject::History, other),
            (Subject::TestCase, token.clone()),
            (Subject::RobotLogs, token),
        ];
        let gaps = merge_gaps(missing);
        let what: Vec<_> = gaps.iter().map(|gap| gap.what.as_str()).collect();
        let all = "the project, the test case and the robot's log";
        assert_eq!(what, [all, "the earlier results"]);
        assert_eq!(gaps[0].why, "no token");
    }
}
