//! The types of the admin API's requests and answers. Both `http` and `cli` use them, so that
//! server and client agree.
//!
//! Plain data; field names are the JSON names. Requests refuse unknown members; later versions may
//! add members to answers.

mod connections;
mod connectors;
mod defects;
mod events;
mod problem;
mod report;
mod test_manager;
mod text;

use serde::{Deserialize, Serialize};

pub use connections::{
    AcceptQuery, Connection, ConnectionList, ConnectionStatus, CreateConnection, CreatedConnection,
    EditConnection, ForceQuery, Grants, LastError, RotateToken, SecretGrant, TryReport, TryStep,
};
pub use connectors::{Connector, ConnectorList, ConnectorStatus};
pub use defects::{Decision, Defect, DefectList, DefectQuery, DefectRecord, ResolveDefect};
pub use events::{
    Event, EventList, EventQuery, EventWithRuns, Header, LogLine, OutboundCall, Request, Run, Usage,
};
pub use problem::{Problem, SettingError};
pub use report::{PreviewAttachment, PreviewField, PreviewReport, ReportPreview};
pub use test_manager::{EditTestManager, FailedTest, TestManager, TryConnection};
pub use text::{EnumString, SecretText, Text, Time};

/// Rows of a page, if the request does not say.
pub const PAGE_ROWS: u32 = 50;
/// Maximum rows of a page.
pub const PAGE_ROWS_MAX: u32 = 200;

/// A request without members.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmptyBody {}

/// `GET /status`: the process itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// Number of tasks that its async runtime runs.
    pub tasks: usize,
}
