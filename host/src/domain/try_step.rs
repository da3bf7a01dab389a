//! The steps of a connection's `try`: DNS, TCP, TLS and the connector's `check`; then DNS, TCP, TLS
//! and requests for Test Manager. This file runs no step.

use super::{Origin, string_enum};

string_enum! {
    /// A part of `try` that tests one condition.
    pub enum TryStep {
        /// The host name is resolved, and its addresses are checked. If a proxy is used, the proxy
        /// resolves the name.
        Dns = "dns",
        /// The host can make a TCP connection to the origin or its proxy.
        Connect = "connect",
        /// The TLS handshake succeeds.
        Tls = "tls",
        /// The secrets can be read, and the tracker accepts the credentials. Only a failure of this
        /// step is reported.
        Credentials = "credentials",
        /// The connector's `check` succeeds: with the connection's credentials, it finds the
        /// objects that the settings name.
        Check = "check",
        /// Test Manager's identity server accepts the client and its secret.
        Token = "test-manager-token",
        /// The identity server grants every requested scope.
        Scope = "test-manager-scope",
        /// The project can be read from Test Manager; if the project is not known, at least one
        /// project can.
        TestManagerProject = "test-manager-project",
        /// The log of the failed test can be read from Test Manager.
        TestManagerLog = "test-manager-log",
    }
}

/// The result of one step of a `try`.
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
    /// A remark for people about a step that succeeded.
    pub note: Option<String>,
}

impl TryStepResult {
    /// Makes the result of a step that succeeded.
    #[must_use]
    pub fn of(step: TryStep) -> Self {
        Self { step, origin: None, error: None, setting: None, note: None }
    }
}
