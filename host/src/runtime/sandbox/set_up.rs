//! Calls functions of the interface `plugin`, for people who configure or develop a connector.
//! Never allows a write.

use crate::domain::{Call, ChoicesPage};
use crate::egress::Permission;
use crate::manifest::RawManifest;
use crate::runtime::bindings;
use crate::runtime::call_input::CallInput;
use crate::runtime::instance::GuestInstance;

use super::{ExportCall, RunEnd, RunInput, Sandbox};

impl Sandbox {
    /// Calls `plugin.choices`: returns possible values of a setting. Writes are refused.
    pub async fn choices(&self, run: RunInput, setting: &str, search: &str) -> RunEnd<ChoicesPage> {
        let export = run.connector.loaded().plugin.clone();
        let choices_query = Some((setting, search));
        let call_input = CallInput { choices_query, ..CallInput::without_arguments(Call::Choices) };
        let (setting, search) = (setting.to_owned(), search.to_owned());
        let call = |guest: GuestInstance| guest.choices(export, setting, search);
        self.run(run, ExportCall::read_only(call_input), call, bindings::check_choices).await
    }

    /// Calls `plugin.describe` of a loaded connector again, to get the report of the run. All
    /// requests of the guest are refused.
    pub(crate) async fn describe_again(&self, run: RunInput) -> RunEnd<RawManifest> {
        let export = run.connector.loaded().plugin.clone();
        let call = |guest: GuestInstance| guest.describe(export);
        let convert = |manifest, _: bindings::Redact<'_>| Ok(manifest);
        let call_input = CallInput::without_arguments(Call::Describe);
        let permission = Permission::Nothing;
        let export_call = ExportCall { call_input, permission, test_report: None };
        self.run(run, export_call, call, convert).await
    }
}
