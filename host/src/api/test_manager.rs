//! Types of the member `test_manager` of a connection, and of failed tests in requests. No type
//! contains the client secret.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::Origin;

use super::Text;
use super::connections::double_option;

/// The settings with which the host requests data from Test Manager, without the client secret.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TestManager {
    /// The address of Test Manager, without `/api/v2`.
    pub base_url: String,
    /// The address of the token endpoint of the identity server.
    pub token_url: String,
    /// The OAuth client id of the external application in UiPath.
    pub client_id: String,
    /// The scopes of each token that the host requests.
    pub scopes: Vec<String>,
    /// The id of the project of all failed tests. With `null`, the host finds the project of each
    /// failed test, for example by its link.
    pub project_id: Option<String>,
    /// The origins, besides that of `base_url`, to which a download may be redirected. They receive
    /// no credential.
    pub asset_origins: Vec<Text<Origin>>,
}

/// The settings for Test Manager in a request. An absent member keeps its stored value. If no
/// settings are stored yet, `base_url`, `token_url` and `client_id` are required, and other absent
/// members get defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EditTestManager {
    /// The address of Test Manager, without `/api/v2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The address of the token endpoint of the identity server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// The OAuth client id of the external application in UiPath.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The scopes of each token that the host requests. The default scopes permit reading the log
    /// of a failed test with its assertions and files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The id of the project of all failed tests. With `null`, the host finds the project of each
    /// failed test, for example by its link.
    #[serde(deserialize_with = "double_option", skip_serializing_if = "Option::is_none")]
    pub project_id: Option<Option<String>>,
    /// The origins, besides that of `base_url`, to which a download may be redirected. They receive
    /// no credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset_origins: Option<Vec<String>>,
}

/// The body of `POST /connections/{id}/try`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TryConnection {
    /// A failed test whose log is read from Test Manager as a step of the try. If absent, no log is
    /// read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_test: Option<FailedTest>,
}

/// A failed test, identified by the same ids as in a webhook.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailedTest {
    /// The id of the test execution.
    pub test_execution_id: Uuid,
    /// The id of the test case.
    pub test_case_id: Uuid,
    /// The id of the variation; absent if the test case has no variations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variation_id: Option<String>,
    /// The link to the log of the test case. The host may find the project by the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_an_unknown_member_contains_its_name() {
        let error = serde_json::from_str::<EditTestManager>(r#"{"base_uri":"x"}"#).unwrap_err();
        assert!(error.to_string().contains("base_uri"), "{error}");
        let edit = serde_json::from_str::<EditTestManager>(r#"{"project_id":null}"#).unwrap();
        assert_eq!(edit.project_id, Some(None));
        assert_eq!(serde_json::to_string(&edit).unwrap(), r#"{"project_id":null}"#);
    }
}
