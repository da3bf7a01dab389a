//! The operations of the admin API, for the OpenAPI document. This list creates no route. A test in
//! `openapi.rs` compares it with the routes in `http/routes.rs`.

use crate::api::{
    AcceptQuery, Account, AppliedConnections, ApplyQuery, AuditList, AuditQuery, Choices,
    Connection, ConnectionList, ConnectionsFile, Connector, ConnectorList, CreateConnection,
    CreateToken, CreatedConnection, CreatedToken, DefectList, DefectQuery, DefectRecord,
    EditConnection, EmptyBody, EraseQuery, EventList, EventQuery, EventRecording, EventReplay,
    EventWithRuns, ForceQuery, ListChoices, ListChoicesOfNew, MapPath, PreviewReport,
    RecordConnection, ReplacedConnector, ReplayEvent, ReportPreview, ResolveDefect,
    RollbackConnector, RotateToken, Status, TokenList, TryConnection, TryReport, UploadQuery,
};

use super::operation::Operation as Op;

/// The statuses of the additional problems of an operation that runs a connector.
const RUN_PROBLEMS: [u16; 4] = [409, 422, 501, 502];
/// The statuses of the additional problems of an operation that handles a webhook request.
const WEBHOOK_PROBLEMS: [u16; 6] = [409, 415, 422, 501, 502, 504];

/// All operations of the admin API.
pub(super) fn all() -> Vec<Op> {
    [
        server_operations(),
        connection_operations(),
        connection_actions(),
        connector_operations(),
        event_operations(),
        defect_operations(),
        account_operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn server_operations() -> Vec<Op> {
    vec![
        Op::get("/status", "showStatus", "Show the server's version, tasks and folders")
            .with_answer::<Status>(200),
        Op::get("/openapi.json", "showOpenApi", "Show this document")
            .with_answer::<serde_json::Value>(200),
        Op::get("/export", "exportConnections", "Show all connections as a file, without secrets")
            .with_answer::<ConnectionsFile>(200),
        Op::post("/apply", "applyConnections", "Create and change connections to match a file")
            .with_query::<ApplyQuery>()
            .with_body::<ConnectionsFile>()
            .with_answer::<AppliedConnections>(200)
            .with_problems(&[409, 412, 422]),
        Op::get("/docs", "showDocs", "Show this document as a page").with_page_answer(),
    ]
}

fn connection_operations() -> Vec<Op> {
    vec![
        Op::get("/connections", "listConnections", "List all connections")
            .with_answer::<ConnectionList>(200),
        Op::post("/connections", "createConnection", "Create a connection")
            .with_body::<CreateConnection>()
            .with_answer::<CreatedConnection>(201)
            .with_problems(&[409, 422]),
        Op::get("/connections/{id}", "showConnection", "Show a connection")
            .with_answer::<Connection>(200),
        Op::patch("/connections/{id}", "editConnection", "Change a connection")
            .with_query::<ForceQuery>()
            .with_if_match()
            .with_body::<EditConnection>()
            .with_answer::<Connection>(200)
            .with_problems(&[409, 422]),
        Op::delete(
            "/connections/{id}",
            "deleteConnection",
            "Delete a connection and what belongs to it",
        )
        .with_query::<ForceQuery>()
        .with_empty_answer()
        .with_problems(&[409]),
        Op::post(
            "/connections/{id}/rotate-token",
            "rotateToken",
            "Replace the webhook URL of a connection",
        )
        .with_body::<RotateToken>()
        .with_answer::<CreatedConnection>(200),
        Op::post(
            "/connections/{id}/accept",
            "acceptVersion",
            "Accept the demands of a connector's newer version",
        )
        .with_query::<AcceptQuery>()
        .with_if_match()
        .with_body::<EditConnection>()
        .with_answer::<Connection>(200)
        .with_problems(&[409, 422]),
        Op::post("/connections/{id}/paths", "mapPath", "Set the kind of the requests at a path")
            .with_body::<MapPath>()
            .with_answer::<Connection>(200)
            .with_problems(&[409, 422]),
    ]
}

fn connection_actions() -> Vec<Op> {
    vec![
        Op::post("/connections/{id}/pause", "pauseConnection", "Answer webhooks with 503")
            .with_answer::<Connection>(200)
            .with_problems(&[409]),
        Op::post(
            "/connections/{id}/resume",
            "resumeConnection",
            "Resume a connection that is paused",
        )
        .with_answer::<Connection>(200)
        .with_problems(&[409]),
        Op::post(
            "/connections/{id}/record",
            "startRecording",
            "Record the bodies of requests and answers for a limited time",
        )
        .with_body::<RecordConnection>()
        .with_answer::<Connection>(200)
        .with_problems(&[422]),
        Op::delete("/connections/{id}/record", "stopRecording", "Stop recording bodies")
            .with_query::<EraseQuery>()
            .with_answer::<Connection>(200),
        Op::post(
            "/connections/{id}/try",
            "tryConnection",
            "Check each step of a request to the tracker",
        )
        .with_body::<TryConnection>()
        .with_answer::<TryReport>(200)
        .with_problems(&RUN_PROBLEMS),
        Op::post(
            "/connections/{id}/choices",
            "listChoices",
            "List the values that a setting may have",
        )
        .with_body::<ListChoices>()
        .with_answer::<Choices>(200)
        .with_problems(&RUN_PROBLEMS),
        Op::post(
            "/connections/{id}/preview",
            "previewReport",
            "Render a report without creating a defect",
        )
        .with_body::<PreviewReport>()
        .with_answer::<ReportPreview>(200)
        .with_problems(&[422]),
        Op::get("/connections/{id}/hook/{*path}", "readHook", "Handle a GET as a webhook request")
            .with_answer::<serde_json::Value>(200)
            .with_problems(&WEBHOOK_PROBLEMS),
        Op::post(
            "/connections/{id}/hook/{*path}",
            "writeHook",
            "Handle a POST as a webhook request",
        )
        .with_body::<serde_json::Value>()
        .with_answer::<serde_json::Value>(200)
        .with_problems(&WEBHOOK_PROBLEMS),
    ]
}

fn connector_operations() -> Vec<Op> {
    vec![
        Op::get("/connectors", "listConnectors", "List all connectors")
            .with_answer::<ConnectorList>(200),
        Op::get(
            "/connectors/{name}",
            "showConnector",
            "Show a connector, its versions and its use of limits",
        )
        .with_answer::<Connector>(200),
        Op::put(
            "/connectors/{name}",
            "uploadConnector",
            "Put a connector's file into the plugins folder",
        )
        .with_query::<UploadQuery>()
        .with_file_body()
        .with_answer::<ReplacedConnector>(200)
        .with_answer::<ReplacedConnector>(201)
        .with_problems(&[409, 422]),
        Op::delete("/connectors/{name}", "removeConnector", "Remove a connector's file")
            .with_query::<ForceQuery>()
            .with_empty_answer()
            .with_problems(&[409]),
        Op::post(
            "/connectors/{name}/rollback",
            "rollBackConnector",
            "Roll a connector back to an earlier version",
        )
        .with_body::<RollbackConnector>()
        .with_answer::<ReplacedConnector>(200)
        .with_problems(&[409]),
        Op::post(
            "/connectors/{name}/choices",
            "listChoicesOfNew",
            "List the values of a setting for a new connection",
        )
        .with_body::<ListChoicesOfNew>()
        .with_answer::<Choices>(200)
        .with_problems(&RUN_PROBLEMS),
    ]
}

fn event_operations() -> Vec<Op> {
    vec![
        Op::get("/events", "listEvents", "List events, newest first")
            .with_query::<EventQuery>()
            .with_answer::<EventList>(200)
            .with_problems(&[404]),
        Op::get("/events/{id}", "showEvent", "Show an event and its runs")
            .with_answer::<EventWithRuns>(200),
        Op::get(
            "/events/{id}/recording",
            "showRecording",
            "Show the recorded exchanges of an event",
        )
        .with_answer::<EventRecording>(200),
        Op::post(
            "/events/{id}/replay",
            "replayEvent",
            "Replay an event's runs, or handle its request again",
        )
        .with_body::<ReplayEvent>()
        .with_answer::<EventReplay>(200)
        .with_problems(&[409, 422]),
    ]
}

fn defect_operations() -> Vec<Op> {
    vec![
        Op::get("/defects", "listDefects", "List the defects of failed tests, newest first")
            .with_query::<DefectQuery>()
            .with_answer::<DefectList>(200)
            .with_problems(&[404]),
        Op::get("/defects/{id}", "showDefect", "Show a defect").with_answer::<DefectRecord>(200),
        Op::post("/defects/{id}/resolve", "resolveDefect", "Decide about a defect in doubt")
            .with_body::<ResolveDefect>()
            .with_answer::<DefectRecord>(200)
            .with_problems(&[409]),
        Op::post(
            "/defects/{id}/release",
            "releaseDefect",
            "Let the next Create Defect request create another defect",
        )
        .with_body::<EmptyBody>()
        .with_answer::<DefectRecord>(200)
        .with_problems(&[409]),
    ]
}

fn account_operations() -> Vec<Op> {
    vec![
        Op::get("/account", "showAccount", "Show the account that sent the request")
            .with_answer::<Account>(200),
        Op::get("/audit", "listAudit", "List who changed what, newest first")
            .with_query::<AuditQuery>()
            .with_answer::<AuditList>(200),
        Op::get("/tokens", "listTokens", "List the named tokens").with_answer::<TokenList>(200),
        Op::post("/tokens", "createToken", "Create a named token")
            .with_body::<CreateToken>()
            .with_answer::<CreatedToken>(201)
            .with_problems(&[404, 409, 422]),
        Op::delete("/tokens/{id}", "revokeToken", "Revoke a token").with_empty_answer(),
    ]
}
