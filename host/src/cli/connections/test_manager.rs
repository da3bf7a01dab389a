//! The arguments that configure how Jackfield reads from Test Manager's API.

use clap::Args;

use crate::api::{EditTestManager, SecretText};
use crate::cli::key_value;

#[derive(Default, Args)]
pub(super) struct SetTestManager {
    /// The address of Test Manager, from which the data of failed tests is read
    #[arg(long, value_name = "URL")]
    test_manager_url: Option<String>,
    /// The token endpoint of Test Manager's identity server
    #[arg(long, value_name = "URL")]
    test_manager_token_url: Option<String>,
    /// The id of the external application with whose credentials Test Manager is read
    #[arg(long, value_name = "ID")]
    test_manager_client_id: Option<String>,
    /// The secret of the external application: =@FILE from a file, =- from stdin, no value for a
    /// prompt; or a reference that the server reads, =file:/PATH or =env:NAME
    #[arg(long, value_name = "@FILE", num_args = 0..=1, require_equals = true)]
    test_manager_client_secret: Option<Option<String>>,
    /// A scope to request instead of the default ones; can be repeated
    #[arg(long, value_name = "SCOPE")]
    test_manager_scope: Vec<String>,
    /// The id of the Test Manager project, if the link of a failed test does not show it
    #[arg(long, value_name = "ID")]
    test_manager_project: Option<String>,
    /// Another origin to which Test Manager may redirect a download; can be repeated
    #[arg(long, value_name = "ORIGIN")]
    test_manager_asset_origin: Vec<String>,
}

#[derive(Default, Args)]
pub(super) struct UnsetTestManager {
    /// Stop reading from Test Manager, and remove its client secret
    #[arg(long)]
    pub(super) no_test_manager: bool,
    /// Take the Test Manager project from the link of each failed test
    #[arg(long, conflicts_with = "test_manager_project")]
    pub(super) no_test_manager_project: bool,
}

impl SetTestManager {
    /// Returns the member `test_manager` of a request, or `None` if no argument sets a part of it.
    pub(super) fn to_settings(&self) -> Option<EditTestManager> {
        let list = |values: &Vec<String>| (!values.is_empty()).then(|| values.clone());
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

    pub(super) fn read_client_secret(&self) -> anyhow::Result<Option<SecretText>> {
        let source = self.test_manager_client_secret.as_ref();
        source
            .map(|source| {
                key_value::read_secret_option("test-manager-client-secret", source.as_deref())
            })
            .transpose()
    }

    /// Returns the member `test_manager` of an edit. `None` changes nothing. `Some(None)` removes
    /// the settings of Test Manager.
    pub(super) fn to_edit(&self, unset: &UnsetTestManager) -> Option<Option<EditTestManager>> {
        if unset.no_test_manager {
            return Some(None);
        }
        let edit = self.to_settings();
        if unset.no_test_manager_project {
            return Some(Some(EditTestManager {
                project_id: Some(None),
                ..edit.unwrap_or_default()
            }));
        }
        edit.map(Some)
    }
}
