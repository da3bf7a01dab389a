//! The parts of a failed test's data, as Test Manager returns them. Each part is fetched when it is
//! first needed. Its result, even if it is a failure, is kept.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::domain::{FailedTest, StringEnum as _};
use crate::report::Subject;

use super::client::Client;
use super::failure::Failure;
use super::json::{find_member, list_items, text_member};
use super::pages::{self, ListItems, Paging, has_more};
use super::{find_log, project, robot_logs};

/// Maximum number of earlier results of the test case that are requested, the newest first.
const HISTORY_MAX: usize = 20;
const PAGE_ITEMS: usize = 100;
/// Maximum number of pages of a list that are read.
const PAGES_MAX: usize = 5;

/// A part of the data that was fetched, and a remark for people.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FetchedPart {
    /// The JSON of the part, usually an object or a list; null for the test set of an execution
    /// without a test set.
    pub(super) value: Value,
    /// A remark for people, for example which items are missing, or why this log was chosen.
    pub(super) note: Option<String>,
}

impl From<Value> for FetchedPart {
    fn from(value: Value) -> Self {
        Self { value, note: None }
    }
}

impl From<ListItems> for FetchedPart {
    fn from(list: ListItems) -> Self {
        Self { value: Value::Array(list.items), note: list.note }
    }
}

/// A part of the data, or the reason why the part is missing.
pub(super) type PartResult = Result<FetchedPart, Failure>;

/// The parts of one failed test's data.
pub(super) struct Parts {
    test: FailedTest,
    parts: BTreeMap<Subject, OnceCell<PartResult>>,
    project: OnceCell<Result<Value, Failure>>,
    /// Whether the log will be needed. If so, the test case is read from the log if possible.
    is_log_needed: AtomicBool,
}

impl Parts {
    pub(super) fn new(test: FailedTest) -> Self {
        let parts = Subject::ALL.iter().map(|subject| (*subject, OnceCell::new())).collect();
        Self { test, parts, project: OnceCell::new(), is_log_needed: AtomicBool::new(false) }
    }

    pub(super) fn test(&self) -> &FailedTest {
        &self.test
    }

    pub(super) fn mark_log_needed(&self) {
        self.is_log_needed.store(true, Ordering::Relaxed);
    }

    pub(super) async fn get_or_fetch(&self, client: &Client, subject: Subject) -> PartResult {
        let fetched = self.fetch(client, subject);
        match self.parts.get(&subject) {
            Some(cell) => cell.get_or_init(|| fetched).await.clone(),
            None => fetched.await,
        }
    }

    pub(super) async fn project_id(&self, client: &Client) -> Result<String, Failure> {
        let project = self.identified_project(client).await?;
        let id = project::read_id(&project);
        id.ok_or_else(|| Failure::Project("Test Manager's project has no id".to_owned()))
    }

    pub(super) async fn log_id(&self, client: &Client) -> Result<String, Failure> {
        let log = self.get_or_fetch(client, Subject::TestCaseLog).await?;
        let id = text_member(&log.value, &["id", "testCaseLogId"]);
        id.ok_or_else(|| {
            Failure::Other("Test Manager's log of the failed test has no id".to_owned())
        })
    }

    /// Returns the project as JSON, with at least its id.
    async fn identified_project(&self, client: &Client) -> Result<Value, Failure> {
        let identify = || project::identify(client, Some(&self.test));
        self.project.get_or_init(identify).await.clone()
    }

    /// The future is boxed, because fetching a part may fetch another part first.
    fn fetch<'a>(&'a self, client: &'a Client, subject: Subject) -> BoxFuture<'a, PartResult> {
        Box::pin(async move {
            if subject == Subject::Project {
                let project = self.identified_project(client).await?;
                return Ok(project::fetch_details(client, project).await?.into());
            }
            let project = self.project_id(client).await?;
            self.fetch_from_project(client, &project, subject).await
        })
    }

    /// Fetches a part that belongs to the project with the id `project`.
    async fn fetch_from_project(
        &self,
        client: &Client,
        project: &str,
        subject: Subject,
    ) -> PartResult {
        let test_case = &*self.test.test_case_id.to_string();
        let execution = &*self.test.test_execution_id.to_string();
        match subject {
            Subject::Project => {
                Err(Failure::Other("the project is not a part of a project".to_owned()))
            }
            Subject::TestCase => self.fetch_test_case(client, project, test_case).await,
            Subject::TestExecution => {
                Ok(client.get(&[project, "testexecutions", execution], &[]).await?.into())
            }
            Subject::TestCaseLog => find_log::find_log(client, project, &self.test).await,
            Subject::TestSet => self.fetch_test_set(client, project).await,
            Subject::Assertions => {
                let log = self.log_id(client).await?;
                fetch_list(client, &[project, "testcaselogartifacts", &log, "assertions"], &[])
                    .await
            }
            Subject::Attachments => {
                let log = self.log_id(client).await?;
                fetch_list(client, &[project, "attachments", "testCaseLog", &log, "all"], &[]).await
            }
            Subject::Steps => {
                let log = self.log_id(client).await?;
                fetch_list(client, &[project, "teststeplogs"], &[("testCaseLogId", &log)]).await
            }
            Subject::RobotLogs => {
                let log = self.get_or_fetch(client, Subject::TestCaseLog);
                robot_logs::read_robot_logs(client, project, &self.test, log).await
            }
            Subject::History => {
                let path = [project, "testcaselogs", "testcase", test_case, "history"];
                fetch_newest(client, &path, &[], HISTORY_MAX).await
            }
            Subject::Requirements => {
                fetch_all_pages(
                    client,
                    &[project, "testcases", test_case, "assignedrequirements"],
                    |_| true,
                )
                .await
            }
            Subject::Labels => {
                fetch_list(client, &[project, "objectlabels", "testCase", test_case, "all"], &[])
                    .await
            }
            Subject::CustomFields => {
                let path = [project, "customfieldvalues", "testCase", "all"];
                fetch_all_pages(client, &path, |value| belongs_to_test_case(value, test_case)).await
            }
        }
    }

    /// Reads the test case from the log, if the log will be needed and contains the complete test
    /// case; if not, requests the test case.
    async fn fetch_test_case(&self, client: &Client, project: &str, case: &str) -> PartResult {
        if self.is_log_needed.load(Ordering::Relaxed)
            && let Ok(log) = self.get_or_fetch(client, Subject::TestCaseLog).await
            && let Some(test_case) = find_member(&log.value, &["testCase"])
            && text_member(test_case, &["name"]).is_some()
            && test_case.get("description").is_some()
        {
            return Ok(test_case.clone().into());
        }
        Ok(client.get(&[project, "testcases", case], &[]).await?.into())
    }

    async fn fetch_test_set(&self, client: &Client, project: &str) -> PartResult {
        let execution = self.get_or_fetch(client, Subject::TestExecution).await?;
        match text_member(&execution.value, &["testSetId"]) {
            Some(id) => Ok(client.get(&[project, "testsets", &id], &[]).await?.into()),
            None => Ok(Value::Null.into()),
        }
    }
}

/// Fetches the first `items_max` items of a list that Test Manager returns newest first.
pub(super) async fn fetch_newest(
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
    items_max: usize,
) -> PartResult {
    let top = items_max.to_string();
    let page = [("top", top.as_str()), ("skip", "0")];
    let answer = client.get(path, &[query, &page].concat()).await?;
    list_with_note(&answer, items_max, "only the newest")
}

/// Fetches a list that Test Manager returns without pages.
async fn fetch_list(client: &Client, path: &[&str], query: &[(&str, &str)]) -> PartResult {
    let answer = client.get(path, query).await?;
    list_with_note(&answer, usize::MAX, "only the first")
}

/// Fetches the pages of a list, at most [`PAGES_MAX`], and keeps the items for which `is_kept`
/// returns true.
async fn fetch_all_pages(
    client: &Client,
    path: &[&str],
    is_kept: impl Fn(&Value) -> bool,
) -> PartResult {
    let is_enough = |_: &[Value]| false;
    let paging = Paging { page_items: PAGE_ITEMS, pages_max: PAGES_MAX, is_kept, is_enough };
    Ok(pages::read_pages(client, path, &[], paging).await?.into())
}

/// Returns the list in an answer, with a note if Test Manager has more items. `top` is the number
/// of items that were requested. `shown_items` begins the note.
fn list_with_note(answer: &Value, top: usize, shown_items: &str) -> PartResult {
    let found = list_items(answer).ok_or_else(pages::not_a_list)?;
    let count = found.len();
    let note =
        has_more(answer, count, count, top).then(|| format!("{shown_items} {count} are listed"));
    Ok(FetchedPart { value: Value::Array(found.clone()), note })
}

fn belongs_to_test_case(value: &Value, case: &str) -> bool {
    let owner = text_member(value, &["objectId", "testCaseId", "entityId", "ownerId"]);
    owner.is_some_and(|owner| owner.eq_ignore_ascii_case(case))
}
