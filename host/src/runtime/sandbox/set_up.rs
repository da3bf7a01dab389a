//! The calls of the interface `plugin` that serve people who set up or write a connector.

use crate::domain::{Call, ChoicesPage};
use crate::egress::Permission;
use crate::manifest::RawManifest;
use crate::runtime::asked::Asked;
use crate::runtime::bindings;
use crate::runtime::instance::GuestInstance;

use super::{ExportCall, Run, RunEnd, Sandbox};

impl Sandbox {
    /// Calls `plugin.choices`: possible values of a setting. Writes are refused.
    pub async fn choices(&self, run: Run, setting: &str, search: &str) -> RunEnd<ChoicesPage> {
        let export = run.connector.loaded().plugin.clone();
        let asked = Asked { choices_of: Some((setting, search)), ..Asked::of(Call::Choices) };
        let (setting, search) = (setting.to_owned(), search.to_owned());
        let call = |guest: GuestInstance| guest.choices(export, setting, search);
        self.run(run, ExportCall::reading(asked), call, bindings::choices).await
    }

    /// Calls `plugin.describe` of a loaded connector again, with a report of the run. Every request
    /// is refused.
    pub(crate) async fn describe_again(&self, run: Run) -> RunEnd<RawManifest> {
        let export = run.connector.loaded().plugin.clone();
        let call = |guest: GuestInstance| guest.describe(export);
        let convert = |manifest, _: bindings::Redact<'_>| Ok(manifest);
        let (asked, permission) = (Asked::of(Call::Describe), Permission::Nothing);
        let export_call = ExportCall { asked, permission, test_report: None };
        self.run(run, export_call, call, convert).await
    }
}
