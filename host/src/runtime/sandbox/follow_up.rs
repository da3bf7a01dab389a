//! The calls of the interface `follow-up`, which work on a defect after it was created.
//!
//! The rooms above decide whether to comment, to open a defect again, or to attach a file.

use std::sync::Arc;

use crate::domain::{Call, CurrentDefect, FailedTest, Journal, Marker};
use crate::egress::Permission;
use crate::runtime::asked::Asked;
use crate::runtime::bindings::{self, Redact};
use crate::runtime::instance::GuestInstance;
use crate::runtime::test_report::TestReport;

use super::{ExportCall, Run, RunEnd, Sandbox, unsupported};

/// The name of the interface in a refusal.
const FOLLOW_UP: &str = "follow-up";

impl Sandbox {
    /// Calls `follow-up.state`: returns the current defect with this key, or none if it is gone.
    /// Writes are refused.
    pub async fn state(&self, run: Run, key: &str) -> RunEnd<Option<CurrentDefect>> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return unsupported(&run, Call::State, FOLLOW_UP);
        };
        let asked = Asked { key: Some(key), ..Asked::of(Call::State) };
        let key = key.to_owned();
        let call = |guest: GuestInstance| guest.state(export, key);
        self.run(run, ExportCall::reading(asked), call, bindings::current).await
    }

    /// Calls `follow-up.comment`. Each write passes the journal before its first byte is sent. The
    /// report belongs to the execution that failed again.
    pub async fn comment(
        &self,
        run: Run,
        key: &str,
        test: &FailedTest,
        marker: &Marker,
        journal: Arc<dyn Journal>,
        test_report: Arc<TestReport>,
    ) -> RunEnd<()> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return unsupported(&run, Call::Comment, FOLLOW_UP);
        };
        let asked = Asked { marker: Some(marker), ..Asked::of(Call::Comment) };
        let asked = Asked { key: Some(key), test: Some(test), ..asked };
        let (key, test, marker) = (key.to_owned(), test.into(), marker.to_string());
        let call = |guest: GuestInstance| guest.comment(export, key, test, marker);
        let (permission, test_report) = (Permission::Writes(journal), Some(test_report));
        let export_call = ExportCall { asked, permission, test_report };
        self.run(run, export_call, call, unchanged).await
    }

    /// Calls `follow-up.find-comment`: whether the defect has a comment with this marker. Writes
    /// are refused.
    pub async fn find_comment(&self, run: Run, key: &str, marker: &Marker) -> RunEnd<bool> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return unsupported(&run, Call::FindComment, FOLLOW_UP);
        };
        let asked = Asked { key: Some(key), marker: Some(marker), ..Asked::of(Call::FindComment) };
        let (key, marker) = (key.to_owned(), marker.to_string());
        let call = |guest: GuestInstance| guest.find_comment(export, key, marker);
        self.run(run, ExportCall::reading(asked), call, unchanged).await
    }

    /// Calls `follow-up.reopen`. Each write passes the journal before its first byte is sent.
    pub async fn reopen(&self, run: Run, key: &str, journal: Arc<dyn Journal>) -> RunEnd<()> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return unsupported(&run, Call::Reopen, FOLLOW_UP);
        };
        let asked = Asked { key: Some(key), ..Asked::of(Call::Reopen) };
        let key = key.to_owned();
        let call = |guest: GuestInstance| guest.reopen(export, key);
        let permission = Permission::Writes(journal);
        let export_call = ExportCall { asked, permission, test_report: None };
        self.run(run, export_call, call, unchanged).await
    }

    /// Calls `follow-up.attach` with an attachment of the report. Each write passes the journal
    /// before its first byte is sent.
    pub async fn attach(
        &self,
        run: Run,
        key: &str,
        attachment: u32,
        journal: Arc<dyn Journal>,
        test_report: Arc<TestReport>,
    ) -> RunEnd<()> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return unsupported(&run, Call::Attach, FOLLOW_UP);
        };
        let asked = Asked { attachment: Some(attachment), ..Asked::of(Call::Attach) };
        let asked = Asked { key: Some(key), ..asked };
        let key = key.to_owned();
        let call = |guest: GuestInstance| guest.attach(export, key, attachment);
        let (permission, test_report) = (Permission::Writes(journal), Some(test_report));
        let export_call = ExportCall { asked, permission, test_report };
        self.run(run, export_call, call, unchanged).await
    }

    /// Calls `follow-up.attached`: the names of the defect's attachments. Writes are refused.
    pub async fn attached(&self, run: Run, key: &str) -> RunEnd<Vec<String>> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return unsupported(&run, Call::Attached, FOLLOW_UP);
        };
        let asked = Asked { key: Some(key), ..Asked::of(Call::Attached) };
        let key = key.to_owned();
        let call = |guest: GuestInstance| guest.attached(export, key);
        self.run(run, ExportCall::reading(asked), call, bindings::names).await
    }
}

/// Passes on an answer that has no text to redact.
#[expect(clippy::unnecessary_wraps, reason = "the other conversions can fail")]
fn unchanged<T>(answer: T, _redact: Redact<'_>) -> Result<T, crate::domain::Refusal> {
    Ok(answer)
}
