//! The types of requests and answers of the admin API. `http` and `cli` share these types, so that
//! server and client agree. This module never sends or receives anything.
//!
//! The server refuses a request with an unknown member. Later versions may add members to answers.

mod apply;
mod audit;
mod choices;
mod connections;
mod connectors;
mod defects;
mod events;
mod problem;
mod recordings;
mod replay;
mod report;
mod test_manager;
mod text;
mod timeline;
mod tokens;
mod webhook_auth;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use apply::{
    AppliedAction, AppliedChange, AppliedConnection, AppliedConnections, ApplyQuery,
    ConnectionFile, ConnectionsFile,
};
pub use audit::{AuditEntry, AuditList, AuditQuery};
pub use choices::{Choice, Choices, ListChoices, ListChoicesOfNew};
pub use connections::{
    AcceptQuery, Connection, ConnectionList, ConnectionStatus, CreateConnection, CreatedConnection,
    EditConnection, EraseQuery, ForceQuery, Grants, LastError, MapPath, MappedKind,
    RecordConnection, RotateToken, SecretGrant, TryReport, TryStep, WebhookPaths,
};
pub use connectors::{
    Connector, ConnectorFile, ConnectorList, ConnectorStatus, ConnectorVersion, RecentUsage,
    ReplacedConnector, RollbackConnector, UploadQuery, UsedLimit,
};
pub use defects::{Decision, Defect, DefectList, DefectQuery, DefectRecord, ResolveDefect};
pub use events::{
    Event, EventList, EventQuery, EventWithRuns, Header, LogLine, OutboundCall, Request, Run,
    RunTimes, Step, Usage,
};
pub use problem::{Problem, SettingError};
pub use recordings::{EventRecording, RecordedRun, RunInput};
pub use replay::{
    EventReplay, RepeatedRequest, ReplayEvent, ReplayedRequest, ReplayedRun, RequestText,
};
pub use report::{PreviewAttachment, PreviewField, PreviewReport, ReportPreview};
pub use test_manager::{EditTestManager, FailedTest, TestManager, TryConnection};
pub use text::{EnumString, SecretText, Text, Time, describe_without_values};
pub use timeline::{TimelinePart, TimelineWork, write_duration};
pub use tokens::{Account, CreateToken, CreatedToken, Token, TokenList};
pub use webhook_auth::{EditWebhookAuth, WebhookAuth};

/// Number of rows in a page of a list, if the request for the list has no `limit`.
pub const PAGE_ROWS: u32 = 50;
/// Maximum number of rows in a page of a list.
pub const PAGE_ROWS_MAX: u32 = 200;

/// The prefix of the header `User-Agent` of the CLI, by which the audit log recognises the CLI.
pub const CLI_USER_AGENT: &str = "jackfield-cli/";

/// An empty JSON object: the body of a request that needs no data. A body with a member is refused.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyBody {}

/// The answer to `GET /status`: the state of the server process.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The version of the server program.
    pub version: String,
    /// The number of tasks in the async runtime of the server at this moment.
    pub tasks: usize,
    /// The configuration keys whose new values in the configuration file apply only after a
    /// restart.
    #[serde(default)]
    pub needs_restart: Vec<String>,
    /// The absolute path of the folder with the connectors.
    #[serde(default)]
    pub plugins: PathBuf,
    /// The absolute path of the data folder.
    #[serde(default)]
    pub data: PathBuf,
    /// The connectors that have different versions on the servers of this database. The list is
    /// also empty if the database cannot be read, or if the account may not see all connections.
    #[serde(default)]
    pub connector_differences: Vec<ConnectorDifference>,
}

/// A connector that has different versions on the servers of one database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConnectorDifference {
    /// The name of the connector.
    pub name: String,
    /// The version that each server uses.
    pub servers: Vec<ServerVersion>,
}

/// The version of a connector that a server uses.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ServerVersion {
    /// The host name of the server, and the id of its process.
    pub server: String,
    /// SHA-256 of the file of the version; `null` if the server has no version that can be used.
    pub sha256: Option<String>,
}
