//! Handler of `/events/{id}/replay`, which replays the recorded runs of an event, or handles its
//! webhook request again. A replay of recorded runs never sends a request to a tracker.

use std::sync::Arc;

use axum::body::{Body as RequestBody, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::api::{
    EnumString, EventReplay, Header, RepeatedRequest, ReplayEvent, ReplayedRequest, ReplayedRun,
    RequestText, Run,
};
use crate::domain::{self, Account, Call, EventKind, FailedTest, Limits};
use crate::http::problem::{self, Problem};
use crate::http::{AppState, webhook};
use crate::json::Json;
use crate::replay::{self, ReplayError, ReplayOptions};

use super::{Body, Id, events};

/// Maximum size of the body of the answer to a repeated webhook request, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The configuration keys of the limits that an answer shows beside the usage of a run.
const SHOWN_LIMITS: [&str; 8] = [
    "memory_bytes",
    "cpu_ms",
    "run_ms",
    "outbound_calls",
    "request_body_bytes",
    "response_body_bytes",
    "log_bytes",
    "handles",
];

/// Answers `POST /events/{id}/replay`.
pub(crate) async fn replay(
    State(app): State<Arc<AppState>>,
    Extension(account): Extension<Account>,
    Id(id): Id,
    Body(body): Body<ReplayEvent>,
) -> Result<Json<EventReplay>, Problem> {
    let stored = events::find_visible_event(&app, &account, &id).await?.event;
    let event = stored.id;
    if body.for_real {
        if body.version.is_some() || body.call.is_some() || !body.settings.is_empty() {
            let why = "with `for_real`, send no `version`, `call` or `settings`: the request is \
                       handled like a new webhook request of the connection";
            return Err(Problem::bad_request(why));
        }
        let for_real = Some(handle_request_again(&app, &stored).await?);
        return Ok(Json(EventReplay { event: event.0, runs: Vec::new(), for_real }));
    }
    let options = ReplayOptions {
        version: body.version,
        call: body.call.map(|call| call.0),
        settings: body.settings,
    };
    let runs = app.services.replayer.replay(event, &options).await;
    let runs = runs.map_err(|error| replay_problem(&app, &stored, error))?;
    let runs = runs.into_iter().map(to_api_run).collect();
    Ok(Json(EventReplay { event: event.0, runs, for_real: None }))
}

fn replay_problem(app: &AppState, event: &domain::Event, error: ReplayError) -> Problem {
    match error {
        ReplayError::NoEvent => Problem::no_such("event", &event.id.to_string()),
        ReplayError::NotRecorded => Problem::conflict(describe_missing_recording(app, event)),
        ReplayError::Settings(error) => error.into(),
        ReplayError::Store(error) => error.into(),
        ReplayError::NoRun(..) | ReplayError::Unreadable(_) | ReplayError::Version(_) => {
            Problem::conflict(error.to_string())
        }
    }
}

fn describe_missing_recording(app: &AppState, event: &domain::Event) -> String {
    let active = event.connection.and_then(|id| app.services.connections.active(id));
    let Some(active) = active else {
        return format!("the event has no recording, and {}", describe_missing_connection(event));
    };
    let name = &active.connection.name;
    if active.connection.recording_until.is_some_and(|until| until > app.services.clock.now()) {
        return format!(
            "the event has no recording, but {name:?} records now: cause another event"
        );
    }
    format!(
        "the event has no recording: switch recording on with `jackfield connections record {name} \
         --for 1h` (`POST /connections/{{id}}/record`), then cause another event"
    )
}

fn describe_missing_connection(event: &domain::Event) -> &'static str {
    match event.connection {
        Some(_) => "its connection was deleted",
        None => "it belongs to no connection",
    }
}

/// Handles the webhook request of an event again, as if an account had sent it to
/// `/connections/{id}/hook`.
async fn handle_request_again(
    app: &Arc<AppState>,
    event: &domain::Event,
) -> Result<RepeatedRequest, Problem> {
    let active = event.connection.and_then(|id| app.services.connections.active(id));
    let active = active.ok_or_else(|| {
        let why = describe_missing_connection(event);
        Problem::conflict(format!("the request cannot be repeated: {why}"))
    })?;
    let (path, body) = match event.kind {
        EventKind::CreateDefect => ("/defects".to_owned(), create_defect_body(app, event).await?),
        EventKind::Kpis => {
            let path = event.request.path.split('?').next().unwrap_or_default();
            (path.to_owned(), Value::Null)
        }
        _ => {
            let why = "only Create Defect and Defect KPIs requests can be handled again";
            return Err(Problem::conflict(why));
        }
    };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::post(&path).header(CONTENT_TYPE, "application/json");
    let request = request.body(RequestBody::from(body)).map_err(|_| Problem::internal())?;
    let response =
        webhook::receive_for_connection(Arc::clone(app), active, path.clone(), request).await;
    let response = problem::add_body(response, &path);
    let event_id = response.headers().get("jackfield-event").and_then(|id| id.to_str().ok());
    let event_id = event_id.and_then(|id| id.parse().ok());
    let status = response.status().as_u16();
    let answer = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
    let answer = answer.map_err(|_| Problem::internal())?;
    let answer = serde_json::from_slice(&answer).unwrap_or_default();
    Ok(RepeatedRequest { event: event_id, status, answer })
}

/// Rebuilds the body of a Create Defect request. Uses the first of these sources that exists: the
/// recording, the row of the defect, the stored request.
async fn create_defect_body(app: &AppState, event: &domain::Event) -> Result<Value, Problem> {
    let store = &app.services.store;
    let recorded = store.recording(event.id).await?;
    let create = recorded.iter().rfind(|run| run.call == Call::Create);
    if let Some(body) = create.and_then(|run| run.recording.input.get("event")) {
        return Ok(body.clone());
    }
    if let Some(id) = event.defect
        && let Some(record) = store.defect(id).await?
    {
        return Ok(create_defect_json(&record.test));
    }
    let text = event.request.body.as_deref().unwrap_or_default();
    webhook::failed_test(text).map(|test| create_defect_json(&test)).map_err(|_| {
        Problem::conflict("the failed test of this event is not stored, so it cannot be repeated")
    })
}

fn create_defect_json(test: &FailedTest) -> Value {
    json!({
        "testExecutionId": test.test_execution_id,
        "testCaseId": test.test_case_id,
        "variationId": test.variation_id(),
        "linkToTestCaseLog": test.link,
    })
}

fn to_api_run(run: replay::ReplayedRun) -> ReplayedRun {
    let is_same =
        |request: &replay::ReplayedRequest| request.difference == domain::Difference::Same;
    let is_same_answer = run.recorded_answer.as_ref().is_none_or(|answer| *answer == run.answer);
    ReplayedRun {
        is_same: is_same_answer && run.requests.iter().all(is_same),
        recorded_version: run.recorded_version,
        recorded_sha256: run.recorded_sha256,
        run: Run::from(run.report),
        limits: shown_limits(&run.limits),
        requests: run.requests.into_iter().map(to_api_request).collect(),
        answer: run.answer,
        recorded_answer: run.recorded_answer,
        missing: run.missing,
    }
}

fn shown_limits(limits: &Limits) -> std::collections::BTreeMap<String, u64> {
    let value = |name: &str| Some((name.to_owned(), limits.value(name)?));
    SHOWN_LIMITS.into_iter().filter_map(value).collect()
}

fn to_api_request(request: replay::ReplayedRequest) -> ReplayedRequest {
    ReplayedRequest {
        difference: EnumString(request.difference),
        changed: request.changed.into_iter().map(str::to_owned).collect(),
        recorded: request.recorded.map(to_api_request_text),
        replayed: request.replayed.map(to_api_request_text),
        status: request.status,
    }
}

fn to_api_request_text(text: replay::RequestText) -> RequestText {
    let header = |(name, value)| Header { name, value };
    RequestText {
        method: text.method,
        url: text.url,
        headers: text.headers.into_iter().map(header).collect(),
        body: text.body,
        body_base64: text.body_base64,
        body_bytes: text.body_bytes,
    }
}
