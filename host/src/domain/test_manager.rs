//! The settings of a connection for Test Manager's REST API. This file sends no request.

use url::Url;

use super::Origin;

/// The name of the secret that contains the client secret for Test Manager. No setting of a
/// connector can have this name, because it contains a colon.
pub const TEST_MANAGER_SECRET: &str = "test-manager:client-secret";

/// The address of Test Manager, and the account with which the host calls its API. The client
/// secret is stored as the secret [`TEST_MANAGER_SECRET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestManagerSettings {
    /// The address of Test Manager's own pages, with its path, but without `/api/v2`.
    pub base_url: Url,
    /// The token endpoint of the identity server.
    pub token_url: Url,
    /// The OAuth client id of an external application in UiPath.
    pub client_id: String,
    /// The OAuth scopes to request. If one of these scopes is not granted, every token request
    /// fails.
    pub scopes: Vec<String>,
    /// The Test Manager project of all failed tests; `None`: the host finds out the project of each
    /// failed test.
    pub project_id: Option<String>,
    /// Additional origins to which Test Manager may redirect a download. These origins never
    /// receive a credential.
    pub asset_origins: Vec<Origin>,
}

impl TestManagerSettings {
    /// The scopes for reading a failed test's log, assertions, robot log and files. None of these
    /// scopes allows a change.
    pub const DEFAULT_SCOPES: [&str; 5] = [
        "TM.Projects.Read",
        "TM.TestExecutions.Read",
        "TM.TestCases.Read",
        "TM.TestSets.Read",
        "TM.Attachments.Read",
    ];
}
