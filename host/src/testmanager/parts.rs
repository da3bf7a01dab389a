//! The parts of a failed test's data as Test Manager answers them. Each is requested once, when it
//! is first needed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::domain::{FailedTest, StringEnum as _};
use crate::report::Subject;

use super::client::Client;
use super::failure::Failure;
use super::json::{items, member, text};
use super::pages::{self, ListItems, Paging, has_more};
use super::{find_log, project, robot_logs};

/// Maximum number of earlier results of the test case; the newest are kept.
const HISTORY_MAX: usize = 20;
/// Number of items of any other list that one request asks for.
const TOP: usize = 100;
/// Maximum number of pages of any other list.
const PAGES_MAX: usize = 5;

/// A part as it was fetched, with a remark for people.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FetchedPart {
    /// An object or a list.
    pub(super) value: Value,
    /// A remark for people, such as which items are missing or why this log was chosen.
    pub(super) note: Option<String>,
}

impl From<Value> for FetchedPart {
    fn from(value: Value) -> Self {
        Self { value, note: None }
    }
}

impl From<ListItems> for FetchedPart {
    fn from(listed: ListItems) -> Self {
        Self { value: Value::Array(listed.items), note: listed.note }
    }
}

/// A part, or the reason why it is missing.
pub(super) type Part = Result<FetchedPart, Failure>;

/// The parts of one failed test, each fetched at most once.
pub(super) struct Parts {
    test: FailedTest,
    parts: BTreeMap<Subject, OnceCell<Part>>,
    /// The project as JSON, with at least its id.
    project: OnceCell<Result<Value, Failure>>,
    /// Whether the log will be needed. The log usually contains the test case, so that the test
    /// case then needs no request of its own.
    log_is_wanted: AtomicBool,
}

impl Parts {
    pub(super) fn new(test: FailedTest) -> Self {
        let parts = Subject::ALL.iter().map(|subject| (*subject, OnceCell::new())).collect();
        Self { test, parts, project: OnceCell::new(), log_is_wanted: AtomicBool::new(false) }
    }

    pub(super) fn test(&self) -> &FailedTest {
        &self.test
    }

    /// Records that the log will be needed.
    pub(super) fn want_log(&self) {
        self.log_is_wanted.store(true, Ordering::Relaxed);
    }

    /// Returns one part, and fetches it if this is the first call for it.
    pub(super) async fn part(&self, client: &Client, subject: Subject) -> Part {
        let fetched = self.fetch(client, subject);
        match self.parts.get(&subject) {
            Some(cell) => cell.get_or_init(|| fetched).await.clone(),
            None => fetched.await,
        }
    }

    /// The id of the test's project, which the paths of other requests need.
    pub(super) async fn project_id(&self, client: &Client) -> Result<String, Failure> {
        let project = self.project(client).await?;
        let id = project::id(&project);
        id.ok_or_else(|| Failure::Project("Test Manager's project has no id".to_owned()))
    }

    /// The id of the test's log, which the paths of its parts need.
    pub(super) async fn log_id(&self, client: &Client) -> Result<String, Failure> {
        let log = self.part(client, Subject::TestCaseLog).await?;
        let id = text(&log.value, &["id", "testCaseLogId"]);
        id.ok_or_else(|| Failure::Other("the log has no id".to_owned()))
    }

    async fn project(&self, client: &Client) -> Result<Value, Failure> {
        let identify = || project::identify(client, Some(&self.test));
        self.project.get_or_init(identify).await.clone()
    }

    /// Boxed, because a part may need another part.
    fn fetch<'a>(&'a self, client: &'a Client, subject: Subject) -> BoxFuture<'a, Part> {
        Box::pin(async move {
            if subject == Subject::Project {
                let project = self.project(client).await?;
                return Ok(project::details(client, project).await?.into());
            }
            let project = self.project_id(client).await?;
            let (case, execution) =
                (self.test.test_case_id.to_string(), self.test.test_execution_id.to_string());
            let (project, case, execution) = (project.as_str(), case.as_str(), execution.as_str());
            match subject {
                Subject::Project => Err(Failure::Other("it was fetched above".to_owned())),
                Subject::TestCase => self.test_case(client, project, case).await,
                Subject::TestExecution => {
                    Ok(client.get(&[project, "testexecutions", execution], &[]).await?.into())
                }
                Subject::TestCaseLog => find_log::find(client, project, &self.test).await,
                Subject::TestSet => self.test_set(client, project).await,
                Subject::Assertions => {
                    let log = self.log_id(client).await?;
                    get_list(client, &[project, "testcaselogartifacts", &log, "assertions"], &[])
                        .await
                }
                Subject::Attachments => {
                    let log = self.log_id(client).await?;
                    get_list(client, &[project, "attachments", "testCaseLog", &log, "all"], &[])
                        .await
                }
                Subject::Steps => {
                    let log = self.log_id(client).await?;
                    get_list(client, &[project, "teststeplogs"], &[("testCaseLogId", &log)]).await
                }
                Subject::RobotLogs => {
                    let log = self.part(client, Subject::TestCaseLog);
                    robot_logs::read(client, project, &self.test, log).await
                }
                Subject::History => {
                    let path = [project, "testcaselogs", "testcase", case, "history"];
                    newest(client, &path, &[], HISTORY_MAX).await
                }
                Subject::Requirements => {
                    get_all_pages(
                        client,
                        &[project, "testcases", case, "assignedrequirements"],
                        |_| true,
                    )
                    .await
                }
                Subject::Labels => {
                    get_list(client, &[project, "objectlabels", "testCase", case, "all"], &[]).await
                }
                Subject::CustomFields => {
                    let path = [project, "customfieldvalues", "testCase", "all"];
                    get_all_pages(client, &path, |value| belongs_to(value, case)).await
                }
            }
        })
    }

    /// Takes the test case from the log, if the log will be needed and its copy is complete.
    /// Otherwise requests the test case.
    async fn test_case(&self, client: &Client, project: &str, case: &str) -> Part {
        if self.log_is_wanted.load(Ordering::Relaxed)
            && let Ok(log) = self.part(client, Subject::TestCaseLog).await
            && let Some(test_case) = member(&log.value, &["testCase"])
            && text(test_case, &["name"]).is_some()
            && test_case.get("description").is_some()
        {
            return Ok(test_case.clone().into());
        }
        Ok(client.get(&[project, "testcases", case], &[]).await?.into())
    }

    /// Requests the test set; the part is null if the execution has none.
    async fn test_set(&self, client: &Client, project: &str) -> Part {
        let execution = self.part(client, Subject::TestExecution).await?;
        match text(&execution.value, &["testSetId"]) {
            Some(id) => Ok(client.get(&[project, "testsets", &id], &[]).await?.into()),
            None => Ok(Value::Null.into()),
        }
    }
}

/// The newest items of a list that Test Manager answers newest first.
pub(super) async fn newest(
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
    items_max: usize,
) -> Part {
    let top = items_max.to_string();
    let page = [("top", top.as_str()), ("skip", "0")];
    let answer = client.get(path, &[query, &page].concat()).await?;
    list(&answer, items_max, "only the newest")
}

/// Requests a list that Test Manager answers without pages.
async fn get_list(client: &Client, path: &[&str], query: &[(&str, &str)]) -> Part {
    let answer = client.get(path, query).await?;
    list(&answer, usize::MAX, "only the first")
}

/// Reads all pages of a list, and keeps the items for which `keep` returns true.
async fn get_all_pages(client: &Client, path: &[&str], keep: impl Fn(&Value) -> bool) -> Part {
    let enough = |_: &[Value]| false;
    let paging = Paging { top: TOP, pages_max: PAGES_MAX, keep, enough };
    Ok(pages::read(client, path, &[], paging).await?.into())
}

/// A list, with a note if Test Manager has more items.
fn list(answer: &Value, top: usize, which: &str) -> Part {
    let found = items(answer).ok_or_else(pages::no_list)?;
    let count = found.len();
    let note = has_more(answer, count, count, top).then(|| format!("{which} {count} are here"));
    Ok(FetchedPart { value: Value::Array(found.clone()), note })
}

/// Whether the value of a custom field belongs to the test case.
fn belongs_to(value: &Value, case: &str) -> bool {
    let owner = text(value, &["objectId", "testCaseId", "entityId", "ownerId"]);
    owner.is_some_and(|owner| owner.eq_ignore_ascii_case(case))
}
