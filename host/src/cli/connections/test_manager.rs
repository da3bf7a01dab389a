//! The arguments that say how Test Manager is asked.

use clap::Args;

use crate::api::{EditTestManager, SecretText};
use crate::cli::key_value;

#[derive(Default, Args)]
pub(super) struct SetTestManager {
    /// The address of Test Manager, to read there what is known of a failed test
    #[arg(long, value_name = "URL")]
    test_manager_url: Option<String>,
    /// The token endpoint of Test Manager's identity server
    #[arg(long, value_name = "URL")]
    test_manager_token_url: Option<String>,
    /// The id of the external application as which Test Manager is asked
    #[arg(long, value_name = "ID")]
    test_manager_client_id: Option<String>,
    /// Its secret: =@FILE from a file, =- from stdin, no value for a prompt; or a reference that
    /// the server reads, =file:/PATH or =env:NAME
    #[arg(long, value_name = "@FILE", num_args = 0..=1, require_equals = true)]
    test_manager_client_secret: Option<Option<String>>,
    /// A scope to ask for, instead of the default ones; give it once for each
    #[arg(long, value_name = "SCOPE")]
    test_manager_scope: Vec<String>,
    /// The id of the Test Manager project, if the link of a failed test does not show it
    #[arg(long, value_name = "ID")]
    test_manager_project: Option<String>,
    /// Another origin to which Test Manager may redirect a download; give it once for each
    #[arg(long, value_name = "ORIGIN")]
    test_manager_asset_origin: Vec<String>,
}

#[derive(Default, Args)]
pub(super) struct UnsetTestManager {
    /// Do not ask Test Manager any more, and remove its client secret
    #[arg(long)]
    pub(super) no_test_manager: bool,
    /// Find the Test Manager project by the link of each failed test
    #[arg(long, conflicts_with = "test_manager_project")]
    pub(super) no_test_manager_project: bool,
}

impl SetTestManager {
    /// The member of a request; absent if no argument says anything about it.
    pub(super) fn settings(&self) -> Option<EditTestManager> {
        let list = |given: &Vec<String>| (!given.is_empty()).then(|| given.clone());
        let edit = EditTestManager {
            base_url: self.test_manager_url.clone(),
            token_url: self.test_manager_token_url.clone(),
            client_id: self.test_manager_client_id.clone(),
            scopes: list(&self.test_manager_scope),
            project_id: self.test_manager_project.clone().map(Some),
            asset_origins: list(&self.test_manager_asset_origin),
        };
        (edit != EditTestManager::default()).then_some(edit)
    }

    pub(super) fn client_secret(&self) -> anyhow::Result<Option<SecretText>> {
        let given = self.test_manager_client_secret.as_ref();
        given
            .map(|source| key_value::option("test-manager-client-secret", source.as_deref()))
            .transpose()
    }

    /// The member of an edit: `None` inside removes the settings.
    pub(super) fn edit(&self, removed: &UnsetTestManager) -> Option<Option<EditTestManager>> {
        if removed.no_test_manager {
            return Some(None);
        }
        let edit = self.settings();
        if removed.no_test_manager_project {
            return Some(Some(EditTestManager {
                project_id: Some(None),
                ..edit.unwrap_or_default()
            }));
        }
        edit.map(Some)
    }
}
