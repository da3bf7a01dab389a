//! The operations of the admin API. A test compares them with the routes in `http/routes.rs`.

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

/// The problems of a run of a connector that a person asks for.
const OF_RUNS: [u16; 4] = [409, 422, 501, 502];
/// The answers to webhook requests that are problems.
const OF_WEBHOOKS: [u16; 6] = [409, 415, 422, 501, 502, 504];

/// All operations, in the order of the document.
pub(super) fn all() -> Vec<Op> {
    [server(), connections(), actions(), connectors(), events(), defects(), tokens()]
        .into_iter()
        .flatten()
        .collect()
}

fn server() -> Vec<Op> {
    vec![
        Op::get("/status", "showStatus", "Show the server's version, tasks and folders")
            .answers::<Status>(200),
        Op::get("/openapi.json", "showOpenApi", "Show this document")
            .answers::<serde_json::Value>(200),
        Op::get("/export", "exportConnections", "Show all connections as a file, without secrets")
            .answers::<ConnectionsFile>(200),
        Op::post("/apply", "applyConnections", "Apply a file of connections")
            .query::<ApplyQuery>()
            .takes::<ConnectionsFile>()
            .answers::<AppliedConnections>(200)
            .refuses(&[409, 412, 422]),
        Op::get("/docs", "showDocs", "Show this document as a page").answers_page(),
    ]
}

fn connections() -> Vec<Op> {
    vec![
        Op::get("/connections", "listConnections", "List all connections")
            .answers::<ConnectionList>(200),
        Op::post("/connections", "createConnection", "Create a connection")
            .takes::<CreateConnection>()
            .answers::<CreatedConnection>(201)
            .refuses(&[409, 422]),
        Op::get("/connections/{id}", "showConnection", "Show a connection")
            .answers::<Connection>(200),
        Op::patch("/connections/{id}", "editConnection", "Change a connection")
            .query::<ForceQuery>()
            .if_match()
            .takes::<EditConnection>()
            .answers::<Connection>(200)
            .refuses(&[409, 422]),
        Op::delete(
            "/connections/{id}",
            "deleteConnection",
            "Delete a connection and what belongs to it",
        )
        .query::<ForceQuery>()
        .answers_nothing()
        .refuses(&[409]),
        Op::post(
            "/connections/{id}/rotate-token",
            "rotateToken",
            "Give a connection another webhook URL",
        )
        .takes::<RotateToken>()
        .answers::<CreatedConnection>(200),
        Op::post(
            "/connections/{id}/accept",
            "acceptVersion",
            "Accept what a newer version asks for",
        )
        .query::<AcceptQuery>()
        .if_match()
        .takes::<EditConnection>()
        .answers::<Connection>(200)
        .refuses(&[409, 422]),
        Op::post("/connections/{id}/paths", "mapPath", "Say what requests at a path are")
            .takes::<MapPath>()
            .answers::<Connection>(200)
            .refuses(&[409, 422]),
    ]
}

fn actions() -> Vec<Op> {
    vec![
        Op::post("/connections/{id}/pause", "pauseConnection", "Answer webhooks with 503")
            .answers::<Connection>(200)
            .refuses(&[409]),
        Op::post("/connections/{id}/resume", "resumeConnection", "Answer webhooks again")
            .answers::<Connection>(200)
            .refuses(&[409]),
        Op::post("/connections/{id}/record", "startRecording", "Record bodies for a limited time")
            .takes::<RecordConnection>()
            .answers::<Connection>(200)
            .refuses(&[422]),
        Op::delete("/connections/{id}/record", "stopRecording", "Stop recording bodies")
            .query::<EraseQuery>()
            .answers::<Connection>(200),
        Op::post("/connections/{id}/try", "tryConnection", "Test each step to the tracker")
            .takes::<TryConnection>()
            .answers::<TryReport>(200)
            .refuses(&OF_RUNS),
        Op::post("/connections/{id}/choices", "listChoices", "List values that a setting may have")
            .takes::<ListChoices>()
            .answers::<Choices>(200)
            .refuses(&OF_RUNS),
        Op::post(
            "/connections/{id}/preview",
            "previewReport",
            "Render a report without creating it",
        )
        .takes::<PreviewReport>()
        .answers::<ReportPreview>(200)
        .refuses(&[422]),
        Op::get("/connections/{id}/hook/{*path}", "readHook", "Handle a GET as a webhook request")
            .answers::<serde_json::Value>(200)
            .refuses(&OF_WEBHOOKS),
        Op::post(
            "/connections/{id}/hook/{*path}",
            "writeHook",
            "Handle a POST as a webhook request",
        )
        .takes::<serde_json::Value>()
        .answers::<serde_json::Value>(200)
        .refuses(&OF_WEBHOOKS),
    ]
}

fn connectors() -> Vec<Op> {
    vec![
        Op::get("/connectors", "listConnectors", "List all connectors")
            .answers::<ConnectorList>(200),
        Op::get(
            "/connectors/{name}",
            "showConnector",
            "Show a connector, its versions and its use of limits",
        )
        .answers::<Connector>(200),
        Op::put(
            "/connectors/{name}",
            "uploadConnector",
            "Put a connector's file into the plugins folder",
        )
        .query::<UploadQuery>()
        .takes_file()
        .answers::<ReplacedConnector>(200)
        .answers::<ReplacedConnector>(201)
        .refuses(&[409, 422]),
        Op::delete("/connectors/{name}", "removeConnector", "Remove a connector's file")
            .query::<ForceQuery>()
            .answers_nothing()
            .refuses(&[409]),
        Op::post(
            "/connectors/{name}/rollback",
            "rollBackConnector",
            "Go back to an earlier version",
        )
        .takes::<RollbackConnector>()
        .answers::<ReplacedConnector>(200)
        .refuses(&[409]),
        Op::post(
            "/connectors/{name}/choices",
            "listChoicesOfNew",
            "List values for a new connection",
        )
        .takes::<ListChoicesOfNew>()
        .answers::<Choices>(200)
        .refuses(&OF_RUNS),
    ]
}

fn events() -> Vec<Op> {
    vec![
        Op::get("/events", "listEvents", "List events, newest first")
            .query::<EventQuery>()
            .answers::<EventList>(200)
            .refuses(&[404]),
        Op::get("/events/{id}", "showEvent", "Show an event and its runs")
            .answers::<EventWithRuns>(200),
        Op::get(
            "/events/{id}/recording",
            "showRecording",
            "Show what the runs of an event exchanged",
        )
        .answers::<EventRecording>(200),
        Op::post("/events/{id}/replay", "replayEvent", "Make the recorded calls of an event again")
            .takes::<ReplayEvent>()
            .answers::<EventReplay>(200)
            .refuses(&[409, 422]),
    ]
}

fn defects() -> Vec<Op> {
    vec![
        Op::get("/defects", "listDefects", "List the defects of failed tests, newest first")
            .query::<DefectQuery>()
            .answers::<DefectList>(200)
            .refuses(&[404]),
        Op::get("/defects/{id}", "showDefect", "Show a defect").answers::<DefectRecord>(200),
        Op::post("/defects/{id}/resolve", "resolveDefect", "Decide about a defect in doubt")
            .takes::<ResolveDefect>()
            .answers::<DefectRecord>(200)
            .refuses(&[409]),
        Op::post(
            "/defects/{id}/release",
            "releaseDefect",
            "Let the next click create another defect",
        )
        .takes::<EmptyBody>()
        .answers::<DefectRecord>(200)
        .refuses(&[409]),
    ]
}

fn tokens() -> Vec<Op> {
    vec![
        Op::get("/account", "showAccount", "Show whose account the token is")
            .answers::<Account>(200),
        Op::get("/audit", "listAudit", "List who changed what, newest first")
            .query::<AuditQuery>()
            .answers::<AuditList>(200),
        Op::get("/tokens", "listTokens", "List the named tokens").answers::<TokenList>(200),
        Op::post("/tokens", "createToken", "Create a named token")
            .takes::<CreateToken>()
            .answers::<CreatedToken>(201)
            .refuses(&[404, 409, 422]),
        Op::delete("/tokens/{id}", "revokeToken", "Revoke a token").answers_nothing(),
    ]
}
