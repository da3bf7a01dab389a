//! `/api/v1/defects`: where each failed test's defect stands, and what a person decides about it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::{Decision, Defect, DefectId, DefectRecord, DefectState};
use crate::store::DefectFilter;

use super::super::AppState;
use super::super::problem::Problem;
use super::events::cursor;
use super::{
    Body, ConnectionNames, Params, connection_id, connection_names, json as answer, page, page_size,
};

/// Who decided, as the row remembers it: there is one admin token.
const BY: &str = "admin";

/// As long as a connector's may be.
const KEY_BYTES_MAX: usize = 255;

/// The defects' routes.
pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/defects", get(list))
        .route("/defects/{id}", get(show))
        .route("/defects/{id}/settle", post(settle))
        .route("/defects/{id}/release", post(release))
}

type App = State<Arc<AppState>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    state: Option<String>,
    connection: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

/// One of `adopt` (a key, with `title` and `link` where known), `retry` and `give_up`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settle {
    adopt: Option<String>,
    title: Option<String>,
    link: Option<String>,
    retry: bool,
    give_up: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn list(State(app): App, Params(wanted): Params<Wanted>) -> Result<Response, Problem> {
    let size = page_size(wanted.limit)?;
    let connection =
        wanted.connection.map(|name| connection_id(&app.dispatch, &name)).transpose()?;
    let filter = DefectFilter {
        state: wanted.state.map(|word| state(&word)).transpose()?,
        connection,
        before: wanted.cursor.map(|text| cursor(&text)).transpose()?.map(DefectId),
        limit: size + 1,
    };
    let rows = app.dispatch.store().defects(&filter).await?;
    let (defects, next) = page(rows, size, |record| record.id.to_string());
    let names = connection_names(&app.dispatch);
    let defects: Vec<_> = defects.iter().map(|defect| shape(defect, &names)).collect();
    Ok(answer(StatusCode::OK, &json!({"defects": defects, "next": next})))
}

async fn show(State(app): App, Path(id): Path<String>) -> Result<Response, Problem> {
    let record = record(&app, &id).await?;
    Ok(answer(StatusCode::OK, &shape(&record, &connection_names(&app.dispatch))))
}

async fn settle(
    State(app): App,
    Path(id): Path<String>,
    Body(how): Body<Settle>,
) -> Result<Response, Problem> {
    let record = record(&app, &id).await?;
    let tracker = app
        .dispatch
        .connection(&record.connection.to_string())
        .and_then(|connection| connection.grants.origins.first().map(ToString::to_string));
    let decision = decision(how, tracker.as_deref())?;
    decide(&app, record.id, &decision).await
}

async fn release(
    State(app): App,
    Path(id): Path<String>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Response, Problem> {
    let record = record(&app, &id).await?;
    decide(&app, record.id, &Decision::Release).await
}

async fn decide(app: &AppState, id: DefectId, decision: &Decision) -> Result<Response, Problem> {
    let decided = app.dispatch.decide(id, decision, BY).await?;
    Ok(answer(StatusCode::OK, &shape(&decided, &connection_names(&app.dispatch))))
}

async fn record(app: &AppState, id: &str) -> Result<DefectRecord, Problem> {
    let missing = || Problem::not_found("defect");
    let id = DefectId(Uuid::parse_str(id).map_err(|_| missing())?);
    app.dispatch.store().defect(id).await?.ok_or_else(missing)
}

/// The one decision that a body names. A person who adopts by key alone gets the tracker's own
/// address as link, since the host knows no other.
fn decision(how: Settle, tracker: Option<&str>) -> Result<Decision, Problem> {
    let key = how.adopt.as_deref().map(str::trim);
    match (key, how.retry, how.give_up) {
        (Some(key), false, false) if (1..=KEY_BYTES_MAX).contains(&key.len()) => {
            let link = match (&how.link, tracker) {
                (Some(link), _) => web_address(link)?,
                (None, Some(tracker)) => tracker.to_owned(),
                (None, None) => {
                    let why = "this connection has no address: give the defect's `link` too";
                    return Err(Problem::bad_request(why));
                }
            };
            Ok(Decision::Adopt(Defect {
                title: how.title.unwrap_or_else(|| key.to_owned()),
                link,
                key: key.to_owned(),
                status: None,
                priority: None,
                description: None,
            }))
        }
        (Some(_), false, false) => {
            Err(Problem::bad_request(format!("a key has 1 to {KEY_BYTES_MAX} bytes")))
        }
        (None, true, false) => Ok(Decision::Retry),
        (None, false, true) => Ok(Decision::GiveUp),
        _ => Err(Problem::bad_request(
            "name one decision: {\"adopt\":\"KEY\"}, {\"retry\":true} or {\"give_up\":true}",
        )),
    }
}

fn web_address(text: &str) -> Result<String, Problem> {
    let address = url::Url::parse(text).ok();
    let address = address.filter(|url| matches!(url.scheme(), "http" | "https"));
    address.map(String::from).ok_or_else(|| {
        Problem::bad_request(format!("`link` must be an http or https address, found {text:?}"))
    })
}

fn state(word: &str) -> Result<DefectState, Problem> {
    DefectState::from_word(word).ok_or_else(|| {
        let known = DefectState::ALL.map(DefectState::as_str).join(", ");
        Problem::bad_request(format!("`state` is one of {known}, found {word:?}"))
    })
}

fn shape(record: &DefectRecord, names: &ConnectionNames) -> Value {
    let instant = |at: &jiff::Timestamp| at.to_string();
    let decisions = record.decisions.iter();
    let decisions =
        decisions.map(|(at, by, what)| json!({"at": instant(at), "by": by, "what": what}));
    json!({
        "id": record.id.to_string(),
        "connection": record.connection.to_string(),
        "connection_name": names.get(&record.connection),
        "test_execution_id": record.test.test_execution_id.to_string(),
        "test_case_id": record.test.test_case_id.to_string(),
        "variation_id": record.test.variation_id(),
        "link_to_test_case_log": record.test.link,
        "generation": record.generation,
        "state": record.state.as_str(),
        "marker": record.marker.as_str(),
        "defect": record.defect.as_ref().map(defect),
        "reason": record.reason,
        "retry": record.retry,
        "event": record.event.map(|id| id.to_string()),
        "sent_at": record.sent_at.as_ref().map(instant),
        "write_ended_at": record.write_ended_at.as_ref().map(instant),
        "created_at": instant(&record.created_at),
        "updated_at": instant(&record.updated_at),
        "leased_until": record.leased_until.as_ref().map(instant),
        "decisions": decisions.collect::<Vec<_>>(),
    })
}

fn defect(defect: &Defect) -> Value {
    json!({
        "key": defect.key,
        "title": defect.title,
        "link": defect.link,
        "status": defect.status,
        "priority": defect.priority,
        "description": defect.description,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Decision, Problem> {
        decision(serde_json::from_str(text).unwrap(), Some("https://t.example"))
    }

    #[test]
    fn a_body_names_exactly_one_decision() {
        assert_eq!(read(r#"{"retry":true}"#), Ok(Decision::Retry));
        assert_eq!(read(r#"{"give_up":true}"#), Ok(Decision::GiveUp));
        for wrong in [
            "{}",
            r#"{"retry":false}"#,
            r#"{"adopt":" "}"#,
            r#"{"adopt":"A","retry":true}"#,
            r#"{"adopt":"A","link":"javascript:x"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_alone_is_adopted_with_the_tracker_s_address() {
        let Ok(Decision::Adopt(defect)) = read(r#"{"adopt":" QA-7 "}"#) else {
            panic!("no adoption")
        };
        assert_eq!((defect.key.as_str(), defect.title.as_str()), ("QA-7", "QA-7"));
        assert_eq!(defect.link, "https://t.example");
        let Ok(Decision::Adopt(defect)) = read(r#"{"adopt":"7","link":"https://t.example/7"}"#)
        else {
            panic!("no adoption")
        };
        assert_eq!(defect.link, "https://t.example/7");
        let nowhere = decision(serde_json::from_str(r#"{"adopt":"7"}"#).unwrap(), None);
        assert!(nowhere.is_err(), "a defect without a link answers nobody");
    }
}
