//! Calls the functions of the interface `follow-up`, which read or change a defect after it was
//! created. Never decides whether to comment on a defect, to reopen it or to attach a file.

use std::sync::Arc;

use crate::domain::{Call, CurrentDefect, FailedTest, Journal, Marker};
use crate::egress::Permission;
use crate::runtime::bindings::{self, Redact};
use crate::runtime::call_input::CallInput;
use crate::runtime::instance::GuestInstance;
use crate::runtime::test_report::TestReport;

use super::{ExportCall, RunEnd, RunInput, Sandbox, refuse_unsupported_call};

const FOLLOW_UP: &str = "follow-up";

impl Sandbox {
    /// Calls `follow-up.state`: returns the defect with this key as the tracker stores it now, or
    /// `None` if the tracker does not have it any more. Writes are refused.
    pub async fn state(&self, run: RunInput, key: &str) -> RunEnd<Option<CurrentDefect>> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return refuse_unsupported_call(&run, Call::State, FOLLOW_UP);
        };
        let call_input = CallInput { key: Some(key), ..CallInput::without_arguments(Call::State) };
        let key = key.to_owned();
        let call = |guest: GuestInstance| guest.state(export, key);
        self.run(run, ExportCall::read_only(call_input), call, bindings::check_current_defect).await
    }

    /// Calls `follow-up.comment`. The journal records each write before its first byte is sent.
    pub async fn comment(
        &self,
        run: RunInput,
        key: &str,
        test: &FailedTest,
        marker: &Marker,
        journal: Arc<dyn Journal>,
        test_report: Arc<TestReport>,
    ) -> RunEnd<()> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return refuse_unsupported_call(&run, Call::Comment, FOLLOW_UP);
        };
        let call_input = CallInput {
            key: Some(key),
            test: Some(test),
            marker: Some(marker),
            ..CallInput::without_arguments(Call::Comment)
        };
        let (key, test, marker) = (key.to_owned(), test.into(), marker.to_string());
        let call = |guest: GuestInstance| guest.comment(export, key, test, marker);
        let (permission, test_report) = (Permission::Writes(journal), Some(test_report));
        let export_call = ExportCall { call_input, permission, test_report };
        self.run(run, export_call, call, return_unchanged).await
    }

    /// Calls `follow-up.find-comment`: returns whether the defect has a comment with this marker.
    /// Writes are refused.
    pub async fn find_comment(&self, run: RunInput, key: &str, marker: &Marker) -> RunEnd<bool> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return refuse_unsupported_call(&run, Call::FindComment, FOLLOW_UP);
        };
        let call_input = CallInput {
            key: Some(key),
            marker: Some(marker),
            ..CallInput::without_arguments(Call::FindComment)
        };
        let (key, marker) = (key.to_owned(), marker.to_string());
        let call = |guest: GuestInstance| guest.find_comment(export, key, marker);
        self.run(run, ExportCall::read_only(call_input), call, return_unchanged).await
    }

    /// Calls `follow-up.reopen`. The journal records each write before its first byte is sent.
    pub async fn reopen(&self, run: RunInput, key: &str, journal: Arc<dyn Journal>) -> RunEnd<()> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return refuse_unsupported_call(&run, Call::Reopen, FOLLOW_UP);
        };
        let call_input = CallInput { key: Some(key), ..CallInput::without_arguments(Call::Reopen) };
        let key = key.to_owned();
        let call = |guest: GuestInstance| guest.reopen(export, key);
        let permission = Permission::Writes(journal);
        let export_call = ExportCall { call_input, permission, test_report: None };
        self.run(run, export_call, call, return_unchanged).await
    }

    /// Calls `follow-up.attach` with the id of an attachment of the report. The journal records
    /// each write before its first byte is sent.
    pub async fn attach(
        &self,
        run: RunInput,
        key: &str,
        attachment: u32,
        journal: Arc<dyn Journal>,
        test_report: Arc<TestReport>,
    ) -> RunEnd<()> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return refuse_unsupported_call(&run, Call::Attach, FOLLOW_UP);
        };
        let call_input = CallInput {
            key: Some(key),
            attachment: Some(attachment),
            ..CallInput::without_arguments(Call::Attach)
        };
        let key = key.to_owned();
        let call = |guest: GuestInstance| guest.attach(export, key, attachment);
        let (permission, test_report) = (Permission::Writes(journal), Some(test_report));
        let export_call = ExportCall { call_input, permission, test_report };
        self.run(run, export_call, call, return_unchanged).await
    }

    /// Calls `follow-up.attached`: returns the names of the defect's attachments. Writes are
    /// refused.
    pub async fn attached(&self, run: RunInput, key: &str) -> RunEnd<Vec<String>> {
        let Some(export) = run.connector.loaded().follow_up.clone() else {
            return refuse_unsupported_call(&run, Call::Attached, FOLLOW_UP);
        };
        let call_input =
            CallInput { key: Some(key), ..CallInput::without_arguments(Call::Attached) };
        let key = key.to_owned();
        let call = |guest: GuestInstance| guest.attached(export, key);
        self.run(run, ExportCall::read_only(call_input), call, bindings::check_attachment_names)
            .await
    }
}

/// Returns a value unchanged, because it contains no text to redact.
#[expect(clippy::unnecessary_wraps, reason = "the other conversions can fail")]
fn return_unchanged<T>(returned: T, _redact: Redact<'_>) -> Result<T, crate::domain::Refusal> {
    Ok(returned)
}
