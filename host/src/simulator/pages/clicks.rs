//! The webhooks that were fired, and what was answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The body of Create Defect, as Test Manager's user guide documents it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedTest {
    /// The execution.
    pub test_execution_id: Uuid,
    /// The test case.
    pub test_case_id: Uuid,
    /// The variation of a test with several data rows.
    pub variation_id: Option<String>,
    /// The page of the log.
    pub link_to_test_case_log: Option<String>,
}

/// What Create Defect answered, as far as the page shows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedDefect {
    /// The tracker's page.
    pub link: String,
    /// The tracker's key.
    pub link_label: String,
    /// The title.
    pub name: String,
}

/// Sends the webhooks. This room has no HTTP client: whoever starts the stand-in gives it one.
pub trait Webhooks: Send + Sync {
    /// Sends Create Defect to a webhook URL and waits for the answer.
    ///
    /// # Errors
    /// Why there is no defect, in one line.
    fn create_defect(&self, url: &str, test: &FailedTest) -> Result<CreatedDefect, String>;

    /// Sends Defect KPIs for a project, and returns each member of the answer.
    ///
    /// # Errors
    /// Why there are no counts, in one line.
    fn counts(&self, url: &str, project: Uuid) -> Result<Vec<(String, String)>, String>;
}

/// The last answer for a log or a project.
type Last<T> = BTreeMap<Uuid, Result<T, String>>;

/// Where webhooks are sent, and the last answers.
#[derive(Default)]
pub(in super::super) struct Clicks {
    webhook_url: Option<String>,
    notice: Option<String>,
    defects: Last<CreatedDefect>,
    counts: Last<Vec<(String, String)>>,
}

impl Clicks {
    pub(in super::super) fn new(webhook_url: Option<String>) -> Self {
        Self { webhook_url, ..Self::default() }
    }

    pub(super) fn webhook_url(&self) -> Option<&str> {
        self.webhook_url.as_deref()
    }

    pub(super) fn set_webhook_url(&mut self, url: &str) {
        self.webhook_url = Some(url.to_owned());
    }

    /// What the last change of the settings, or the last run, came to; it is shown once.
    pub(super) fn take_notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    pub(super) fn set_notice(&mut self, notice: &str) {
        self.notice = Some(notice.to_owned());
    }

    pub(super) fn defect(&self, log: Uuid) -> Option<&Result<CreatedDefect, String>> {
        self.defects.get(&log)
    }

    pub(super) fn set_defect(&mut self, log: Uuid, answer: Result<CreatedDefect, String>) {
        self.defects.insert(log, answer);
    }

    pub(super) fn counts(&self, project: Uuid) -> Option<&Result<Vec<(String, String)>, String>> {
        self.counts.get(&project)
    }

    pub(super) fn set_counts(
        &mut self,
        project: Uuid,
        answer: Result<Vec<(String, String)>, String>,
    ) {
        self.counts.insert(project, answer);
    }
}
