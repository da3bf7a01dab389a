//! Webhooks: what Test Manager sends, asked of `dispatch` and answered in Test Manager's words.
//!
//! Every request makes an event, also one that reached no connection (of a flood of those, some); every
//! answer names its event.

mod body;
mod incoming;
mod ration;
mod route;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AGE, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{DefectIdKind, Webhook};
use crate::connector::Access;
use crate::dispatch::{CreateAnswer, KpiAnswer};
use crate::domain::{CountTooLarge, DefectId, EventId, EventKind, FailedTest, Outcome, Refusal};
use crate::secret::TokenHash;

use super::AppState;
use super::problem::Problem;
pub(crate) use incoming::Incoming;
pub(super) use ration::Ration;
pub(crate) use route::Meaning;

#[cfg(fuzzing)]
pub(crate) use self::{body::read, incoming::token_and_path, route::meaning};

/// Names the event in every answer.
static EVENT: HeaderName = HeaderName::from_static("jackfield-event");
/// Tells counts that are served because the tracker is unavailable.
static STALE: HeaderName = HeaderName::from_static("jackfield-stale");
/// Most characters of a KPI request's project id.
const PROJECT_MAX: usize = 128;

/// An answer and what its event says of it.
struct Answer {
    response: Response,
    outcome: Outcome,
    defect: Option<DefectId>,
}

/// Any request below `/hooks`.
pub(super) async fn receive(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let (token, path) = incoming::token_and_path(request.uri().path());
    let access = state.dispatch.connection_by_token(&TokenHash::of(&token));
    finish(state, access, (token, path), request).await
}

/// The same for an admin, who names the connection and needs no token.
pub(super) async fn receive_for(
    state: Arc<AppState>,
    access: Arc<Access>,
    path: String,
    request: Request,
) -> Response {
    finish(state, Some(access), (String::new(), path), request).await
}

/// A client that goes away does not keep its event from being finished.
async fn finish(
    state: Arc<AppState>,
    access: Option<Arc<Access>>,
    at: (String, String),
    request: Request,
) -> Response {
    let (id, started) = (EventId::fresh(), Instant::now());
    let received_at = state.dispatch.clock().now();
    let (parts, body) = request.into_parts();
    let body = body::read(body).await;
    let incoming = Incoming::new(id, at, parts, body, received_at, started);
    let dispatch = state.dispatch.clone();
    let work = dispatch.spawn(async move { record_and_answer(&state, access, &incoming).await });
    let mut response = work.await.unwrap_or_else(|error| {
        tracing::error!(event = %id, %error, "a webhook's handler failed");
        Problem::internal().respond(&instance(id))
    });
    if let Ok(name) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert(EVENT.clone(), name);
    }
    response
}

async fn record_and_answer(
    state: &AppState,
    access: Option<Arc<Access>>,
    incoming: &Incoming,
) -> Response {
    let connection = access.as_ref().map(|access| access.connection.id);
    let (kind, answer) = match &access {
        Some(access) => answer(state, access, incoming).await,
        None => (EventKind::NoConnection, Answer::problem(incoming.id, &Problem::no_webhook())),
    };
    let Answer { response, outcome, defect } = answer;
    let status = Some(response.status().as_u16());
    if access.is_none() && !state.strangers.admits(incoming.received_at) {
        return response;
    }
    state.dispatch.store().record_event(incoming.event(kind, connection, status, outcome, defect));
    response
}

async fn answer(
    state: &AppState,
    access: &Arc<Access>,
    incoming: &Incoming,
) -> (EventKind, Answer) {
    match route::meaning(&incoming.method, &incoming.path, &state.config.webhook) {
        Meaning::Probe => (EventKind::Probe, Answer::alive()),
        Meaning::CreateOrProbe if incoming.body.is_empty() => (EventKind::Probe, Answer::alive()),
        Meaning::CreateOrProbe | Meaning::Create => {
            (EventKind::CreateDefect, create(state, access, incoming).await)
        }
        Meaning::Kpis(project) => {
            (EventKind::Kpis, kpis(state, access, &project, incoming.id).await)
        }
        Meaning::Unrecognised => {
            (EventKind::Unrecognised, Answer::problem(incoming.id, &Problem::no_webhook()))
        }
    }
}

async fn create(state: &AppState, access: &Arc<Access>, incoming: &Incoming) -> Answer {
    let test = match incoming.body.failed_test(&incoming.headers) {
        Ok(test) => test,
        Err(problem) => return Answer::problem(incoming.id, &problem),
    };
    let answer = match state.dispatch.known_defect(access, &test).await {
        Ok(Some(known)) => Ok(known),
        Ok(None) => run(state, access, test, incoming).await,
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(created) => Answer {
            response: json_answer(&created_body(&created, state.config.webhook.defect_id)),
            outcome: Outcome::word(created.how),
            defect: Some(created.id),
        },
        Err(refusal) => Answer::refusal(incoming.id, &refusal),
    }
}

async fn run(
    state: &AppState,
    access: &Arc<Access>,
    test: FailedTest,
    incoming: &Incoming,
) -> Result<CreateAnswer, Refusal> {
    // An event that a crash cuts off is found as `running`.
    let running = Outcome::word("running");
    let connection = Some(access.connection.id);
    let begun = incoming.event(EventKind::CreateDefect, connection, None, running, None);
    state.dispatch.store().record_event(begun);
    state.dispatch.create_defect(access, test, incoming.id).await
}

async fn kpis(state: &AppState, access: &Arc<Access>, project: &str, id: EventId) -> Answer {
    let length = project.chars().count();
    if !(1..=PROJECT_MAX).contains(&length) {
        let why = format!("the project id has {length} characters; 1 to {PROJECT_MAX} are taken");
        return Answer::problem(id, &Problem::bad_request(why));
    }
    let counted = match state.dispatch.kpis(access, project, id).await {
        Ok(counted) => counted,
        Err(refusal) => return Answer::refusal(id, &refusal),
    };
    let body = match kpi_body(&counted, &state.config.webhook) {
        Ok(body) => body,
        Err(too_large) => return Answer::refusal(id, &Refusal::CountTooLarge(too_large)),
    };
    let mut response = json_answer(&body);
    let is_fresh = counted.age.is_zero() && !counted.stale;
    if !is_fresh {
        response.headers_mut().insert(AGE, counted.age.as_secs().into());
    }
    if counted.stale {
        response.headers_mut().insert(STALE.clone(), HeaderValue::from_static("true"));
    }
    let outcome = Outcome::word(if is_fresh { "counted" } else { "cached" });
    Answer { response, outcome, defect: None }
}

/// Source: the Create Defect answer in UiPath's Test Manager user guide, page "Webhooks".
fn created_body(created: &CreateAnswer, id: DefectIdKind) -> Value {
    let defect = &created.defect;
    json!({
        "id": match id {
            DefectIdKind::Key => defect.key.clone(),
            DefectIdKind::Uuid => created.id.to_string(),
        },
        "name": defect.title,
        "description": defect.description,
        "status": defect.status,
        "priority": defect.priority,
        "link": defect.link,
        "linkLabel": defect.key,
    })
}

/// Source: the Defect KPIs answer in UiPath's Test Manager user guide, page "Webhooks".
fn kpi_body(counted: &KpiAnswer, config: &Webhook) -> Result<Value, CountTooLarge> {
    let [total, critical, moderate, open, closed] = counted.counts.as_int32()?;
    let mut body = json!({
        "totalDefects": total,
        "criticalDefects": critical,
        "moderateDefects": moderate,
        "openDefects": open,
        "closedDefects": closed,
        "criticalDefectsLink": counted.counts.critical_link,
    });
    if let (Some([ok, some_moderate, some_critical]), Some(members)) =
        (&config.kpi_status, body.as_object_mut())
    {
        let status = match (critical, moderate) {
            (0, 0) => ok,
            (0, _) => some_moderate,
            _ => some_critical,
        };
        members.insert("status".to_owned(), json!(status));
    }
    Ok(body)
}

fn json_answer(body: &Value) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn instance(id: EventId) -> String {
    format!("/api/v1/events/{id}")
}

impl Answer {
    fn alive() -> Self {
        let response = json_answer(&json!({"status": "alive"}));
        Self { response, outcome: Outcome::word("alive"), defect: None }
    }

    fn problem(id: EventId, problem: &Problem) -> Self {
        Self { response: problem.respond(&instance(id)), outcome: problem.outcome(), defect: None }
    }

    fn refusal(id: EventId, refusal: &Refusal) -> Self {
        let defect = match refusal {
            Refusal::InDoubt { defect, .. } => Some(*defect),
            _ => None,
        };
        let response = Problem::from(refusal).respond(&instance(id));
        Self { response, outcome: refusal.into(), defect }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use crate::domain::{Counts, Defect};

    use super::*;

    #[test]
    fn a_created_defect_answers_by_key_or_by_uuid() {
        let defect = Defect {
            key: "QA-7".to_owned(),
            title: "It fails".to_owned(),
            link: "https://t.example/7".to_owned(),
            status: Some("New".to_owned()),
            priority: None,
            description: None,
        };
        let id = DefectId(Uuid::from_u128(7));
        let created = CreateAnswer { defect, id, how: "created" };
        let body = created_body(&created, DefectIdKind::Key);
        assert_eq!(
            body,
            json!({"id": "QA-7", "name": "It fails", "description": null, "status": "New",
                "priority": null, "link": "https://t.example/7", "linkLabel": "QA-7"})
        );
        let body = created_body(&created, DefectIdKind::Uuid);
        assert_eq!((&body["id"], &body["linkLabel"]), (&json!(id.to_string()), &json!("QA-7")));
    }

    #[test]
    fn counts_answer_with_a_status_only_where_its_words_are_known() {
        let counts = Counts { open: 5, closed: 2, critical: 0, moderate: 1, critical_link: None };
        let counted = KpiAnswer { counts, age: Duration::ZERO, stale: false };
        let body = kpi_body(&counted, &Webhook::default()).unwrap();
        assert_eq!((&body["totalDefects"], body.get("status")), (&json!(7), None));
        let words = ["fine", "so-so", "bad"].map(str::to_owned);
        let config = Webhook { kpi_status: Some(words), ..Webhook::default() };
        assert_eq!(kpi_body(&counted, &config).unwrap()["status"], "so-so");
    }
}
