//! The steps of a connection's `try`: DNS, TCP, TLS, the connector's `check`, and then calls of
//! Test Manager.

use super::{Origin, string_enum};

string_enum! {
    /// A part of `try`, which tests one condition.
    pub enum TryStep {
        /// The host name is resolved, and its addresses are checked.
        Dns = "dns",
        /// The host can make a TCP connection.
        Connect = "connect",
        /// The TLS handshake succeeds.
        Tls = "tls",
        /// The secrets can be used, and the tracker does not refuse the credentials. Only a failure
        /// is reported.
        Credentials = "credentials",
        /// The connector's `check` succeeds: what the settings name exists, with these credentials.
        Check = "check",
        /// Test Manager's identity server gives a token.
        Token = "test-manager-token",
        /// The identity server grants every requested scope.
        Scope = "test-manager-scope",
        /// Test Manager shows a project.
        TestManagerProject = "test-manager-project",
        /// Test Manager shows the log of a failed test.
        TestManagerLog = "test-manager-log",
    }
}

/// The result of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TryStepResult {
    /// The part of `try` that ended with this result.
    pub step: TryStep,
    /// The origin of the step; only for DNS, connect and TLS.
    pub origin: Option<Origin>,
    /// A description of the failure; absent if the step succeeded.
    pub error: Option<String>,
    /// The setting to change, if the connector named one.
    pub setting: Option<String>,
    /// A remark about a successful step that a person should know.
    pub note: Option<String>,
}

impl TryStepResult {
    /// Makes the result of a step that succeeded.
    #[must_use]
    pub fn of(step: TryStep) -> Self {
        Self { step, origin: None, error: None, setting: None, note: None }
    }
}
