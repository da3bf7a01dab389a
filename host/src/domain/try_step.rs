//! The steps of a connection's `try`, from the name lookup to the connector's `check`.

use super::{Origin, string_enum};

string_enum! {
    /// A step towards a tracker.
    pub enum TryStep {
        /// The name is resolved and its addresses are checked.
        Dns = "dns",
        /// A TCP connection is made.
        Connect = "connect",
        /// The TLS handshake.
        Tls = "tls",
        /// The tracker accepts the credentials.
        Credentials = "credentials",
        /// What the settings name exists in the tracker.
        Project = "project",
        /// The connector's `check`, where its error concerns neither of the two before.
        Check = "check",
    }
}

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TryStepResult {
    /// The step.
    pub step: TryStep,
    /// Towards which origin, of the first three.
    pub origin: Option<Origin>,
    /// What went wrong; absent: it succeeded.
    pub error: Option<String>,
    /// What a person should know about how it succeeded.
    pub note: Option<String>,
}
