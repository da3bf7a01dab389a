//! The webhook requests of the pages' buttons, and the state of the pages. This module sends
//! nothing itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The body of Create Defect, as Test Manager's user guide documents it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedTest {
    /// The id of the execution.
    pub test_execution_id: Uuid,
    /// The id of the test case.
    pub test_case_id: Uuid,
    /// The id of the variation, if the test has variations.
    pub variation_id: Option<String>,
    /// The address of the page that shows the log.
    pub link_to_test_case_log: Option<String>,
}

/// The members of an answer to Create Defect that the page shows.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedDefect {
    /// The address of the defect in the tracker.
    pub link: String,
    /// The defect's key in the tracker.
    pub link_label: String,
    /// The title of the defect.
    pub name: String,
}

/// The names and values of all members of an answer to Defect KPIs.
pub type Counts = Vec<(String, String)>;

/// The reason why a webhook got no usable answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WebhookError {
    /// No webhook URL is set.
    #[error("No webhook URL is set: enter the webhook URL of a connection in the form above")]
    NoUrl,
    /// The request failed, or its answer was an error. The text has one line.
    #[error("{0}")]
    Failed(String),
}

/// Sends the webhooks. The stand-in has no HTTP client, so the code that starts it implements this
/// trait.
pub trait Webhooks: Send + Sync {
    /// Sends Create Defect to a webhook URL and waits for the answer.
    ///
    /// # Errors
    /// The request failed, or its answer contains no defect.
    fn create_defect(&self, url: &str, test: &FailedTest) -> Result<CreatedDefect, WebhookError>;

    /// Sends Defect KPIs for a project, and returns each member of the answer.
    ///
    /// # Errors
    /// The request failed, or its answer was an error.
    fn counts(&self, url: &str, project: Uuid) -> Result<Counts, WebhookError>;
}

/// For each log or project, the last successful answer, and the last error if it came later.
struct LastResults<T>(BTreeMap<Uuid, (Option<T>, Option<String>)>);

impl<T> Default for LastResults<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> LastResults<T> {
    fn set(&mut self, id: Uuid, answer: Result<T, WebhookError>) {
        let (success, error) = self.0.entry(id).or_insert((None, None));
        match answer {
            Ok(answer) => (*success, *error) = (Some(answer), None),
            Err(new_error) => *error = Some(new_error.to_string()),
        }
    }

    fn get(&self, id: Uuid) -> (Option<&T>, Option<&str>) {
        let result = self.0.get(&id);
        result.map_or((None, None), |(success, error)| (success.as_ref(), error.as_deref()))
    }
}

#[derive(Default)]
pub(in super::super) struct PageState {
    webhook_url: Option<String>,
    /// A sentence about an action. The overview shows it once.
    notice: Option<String>,
    /// By log.
    defects: LastResults<CreatedDefect>,
    /// By project.
    counts: LastResults<Counts>,
}

impl PageState {
    pub(in super::super) fn new(webhook_url: Option<String>) -> Self {
        Self { webhook_url, ..Self::default() }
    }

    pub(super) fn webhook_url(&self) -> Option<&str> {
        self.webhook_url.as_deref()
    }

    pub(super) fn set_webhook_url(&mut self, url: &str) {
        self.webhook_url = Some(url.to_owned());
    }

    pub(super) fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    pub(super) fn set_notice(&mut self, notice: &str) {
        self.notice = Some(notice.to_owned());
    }

    pub(super) fn defect(&self, log: Uuid) -> (Option<&CreatedDefect>, Option<&str>) {
        self.defects.get(log)
    }

    pub(super) fn set_defect(&mut self, log: Uuid, answer: Result<CreatedDefect, WebhookError>) {
        self.defects.set(log, answer);
    }

    pub(super) fn counts(&self, project: Uuid) -> (Option<&Counts>, Option<&str>) {
        self.counts.get(project)
    }

    pub(super) fn set_counts(&mut self, project: Uuid, answer: Result<Counts, WebhookError>) {
        self.counts.set(project, answer);
    }
}
