//! `/api/v1/connections`: made, shown, edited, paused, tried, given new tokens, removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::connector::words;
use crate::dispatch::{ConnectionEdit, NewConnection, Shown};
use crate::domain::{Connection, ConnectorName, Grants, Settings};
use crate::secret::Secret;

use super::super::problem::Problem;
use super::super::{AppState, webhook};
use super::{Body, Params, connection_id, json as answer, with};

/// The connections' routes; each `{id}` is an id or a name.
pub(super) fn routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/connections", get(list).post(create))
        .route("/connections/{id}", get(show).patch(edit).delete(delete))
        .route("/connections/{id}/rotate-token", post(rotate_token))
        .route("/connections/{id}/pause", post(pause))
        .route("/connections/{id}/resume", post(resume))
        .route("/connections/{id}/try", post(try_out))
        .route("/connections/{id}/accept", post(accept))
        .route("/connections/{id}/hook/{*path}", any(hook))
}

type App = State<Arc<AppState>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: String,
    connector: String,
    #[serde(default)]
    settings: Settings,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    project: Option<String>,
    #[serde(default)]
    allow_private: bool,
}

/// What is absent stays; `null` removes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    settings: BTreeMap<String, Option<Value>>,
    #[serde(default)]
    secrets: BTreeMap<String, Option<String>>,
    #[serde(default, deserialize_with = "present")]
    project: Option<Option<String>>,
    #[serde(default)]
    allow_private: Option<bool>,
}

impl Edit {
    fn forced(self, force: bool) -> ConnectionEdit {
        let secrets = self.secrets.into_iter();
        ConnectionEdit {
            name: self.name,
            settings: self.settings,
            secrets: secrets.map(|(name, text)| (name, text.map(Secret::new))).collect(),
            project: self.project,
            allow_private: self.allow_private,
            force,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    #[serde(default)]
    grace_s: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Force {
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accept {
    #[serde(default)]
    force: bool,
    /// The version that the person looked at: another one is not accepted in its stead.
    sha256: Option<String>,
}

/// Tells `null` from absent.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

async fn list(State(app): App) -> Response {
    let all: Vec<_> = app.dispatch.connections().iter().map(|one| shape(&app, one)).collect();
    answer(StatusCode::OK, &json!({"connections": all}))
}

async fn create(State(app): App, Body(body): Body<Create>) -> Result<Response, Problem> {
    let connector = body
        .connector
        .parse::<ConnectorName>()
        .map_err(|error| Problem::invalid("connector", error.to_string()))?;
    let new = NewConnection {
        name: body.name,
        connector,
        settings: body.settings,
        secrets: body.secrets.into_iter().map(|(name, text)| (name, Secret::new(text))).collect(),
        project: body.project,
        allow_private: body.allow_private,
    };
    let shown = app.dispatch.create_connection(new).await?;
    Ok(answer(StatusCode::CREATED, &with_url(&app, &shown)))
}

/// What Test Manager would send to this connection, sent by an admin: the path below `hook` is the one
/// below a webhook URL.
async fn hook(
    State(app): App,
    Path((id, _)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let access = app.dispatch.access(connection_id(&app.dispatch, &id)?);
    let access = access.ok_or_else(|| Problem::not_found("connection"))?;
    // From the address itself: an id that is percent-encoded in the path stays so.
    let path = request.uri().path().splitn(5, '/').nth(4).unwrap_or_default();
    let path = format!("/{path}");
    Ok(webhook::receive_for(app, access, path, request).await)
}

async fn show(State(app): App, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = app.dispatch.connection(&id).ok_or_else(|| Problem::not_found("connection"))?;
    Ok(answer(StatusCode::OK, &shape(&app, &found)))
}

async fn edit(
    State(app): App,
    Path(id): Path<String>,
    Params(Force { force }): Params<Force>,
    Body(body): Body<Edit>,
) -> Result<Response, Problem> {
    let id = connection_id(&app.dispatch, &id)?;
    let edited = app.dispatch.edit_connection(id, body.forced(force)).await?;
    Ok(answer(StatusCode::OK, &shape(&app, &edited)))
}

async fn delete(
    State(app): App,
    Path(id): Path<String>,
    Params(Force { force }): Params<Force>,
) -> Result<Response, Problem> {
    let id = connection_id(&app.dispatch, &id)?;
    app.dispatch.delete_connection(id, force).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn rotate_token(
    State(app): App,
    Path(id): Path<String>,
    Body(Rotate { grace_s }): Body<Rotate>,
) -> Result<Response, Problem> {
    let id = connection_id(&app.dispatch, &id)?;
    let shown = app.dispatch.rotate_token(id, grace_s).await?;
    Ok(answer(StatusCode::OK, &with_url(&app, &shown)))
}

async fn pause(State(app): App, Path(id): Path<String>) -> Result<Response, Problem> {
    set_paused(&app, &id, true).await
}

async fn resume(State(app): App, Path(id): Path<String>) -> Result<Response, Problem> {
    set_paused(&app, &id, false).await
}

async fn set_paused(app: &AppState, id: &str, paused: bool) -> Result<Response, Problem> {
    let id = connection_id(&app.dispatch, id)?;
    let connection = app.dispatch.pause_connection(id, paused).await?;
    Ok(answer(StatusCode::OK, &shape(app, &connection)))
}

async fn try_out(State(app): App, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = connection_id(&app.dispatch, &id)?;
    let report = app.dispatch.try_connection(id).await?;
    let steps = report
        .steps
        .iter()
        .map(|step| json!({"name": step.name, "origin": step.origin, "error": step.error}));
    let steps: Vec<_> = steps.collect();
    Ok(answer(StatusCode::OK, &json!({"steps": steps, "reached": report.reached})))
}

/// Takes what an edit takes: the version may want a setting too.
async fn accept(
    State(app): App,
    Path(id): Path<String>,
    Params(Accept { force, sha256 }): Params<Accept>,
    Body(body): Body<Edit>,
) -> Result<Response, Problem> {
    let id = connection_id(&app.dispatch, &id)?;
    let edit = body.forced(force);
    let accepted = app.dispatch.accept_connection(id, edit, sha256.as_deref()).await?;
    Ok(answer(StatusCode::OK, &shape(&app, &accepted)))
}

fn with_url(app: &AppState, shown: &Shown) -> Value {
    let url = format!("{}/hooks/{}", app.base_url, shown.token.reveal());
    with(shape(app, &shown.connection), "webhook_url", url.into())
}

fn shape(app: &AppState, connection: &Connection) -> Value {
    let instant = |at: &jiff::Timestamp| at.to_string();
    let error = connection.last_error.as_ref();
    let newest = app.dispatch.registry().newest_for(connection);
    let (newest, needs_consent) = match newest {
        Some((newest, news)) => (Some(newest.sha256().to_owned()), news),
        None => (None, None),
    };
    let status = match (connection.paused, &newest, &needs_consent) {
        (true, ..) => "paused",
        (false, None, _) => "no-connector",
        (false, Some(_), Some(_)) => "needs-consent",
        (false, Some(_), None) => "active",
    };
    json!({
        "id": connection.id.to_string(),
        "name": connection.name,
        "connector": connection.connector.as_str(),
        "status": status,
        "settings": connection.settings,
        "secrets_set": connection.secrets_set,
        "grants": grants(&connection.grants),
        "accepted_sha256": connection.accepted_sha256,
        "needs_consent": needs_consent,
        "newest_sha256": newest,
        "project": connection.project,
        "allow_private": connection.allow_private,
        "paused": connection.paused,
        "token_tail": connection.token_tail,
        "created_at": instant(&connection.created_at),
        "last_success_at": connection.last_success_at.as_ref().map(instant),
        "last_error": error.map(|(at, detail)| json!({"at": instant(at), "detail": detail})),
    })
}

fn grants(grants: &Grants) -> Value {
    let origins: Vec<_> = grants.origins.iter().map(ToString::to_string).collect();
    let secrets = grants.secrets.iter().map(|(name, grant)| {
        let shown = json!({"origin": grant.origin.to_string(), "place": words(&grant.place)});
        (name.clone(), shown)
    });
    json!({"origins": origins, "secrets": secrets.collect::<Settings>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_tells_null_from_absent() {
        let edit = |text: &str| serde_json::from_str::<Edit>(text).unwrap();
        assert_eq!(edit("{}").project, None);
        assert_eq!(edit(r#"{"project":null}"#).project, Some(None));
        assert_eq!(edit(r#"{"project":"a"}"#).project, Some(Some("a".to_owned())));
        let edit = edit(r#"{"settings":{"a":null,"b":1},"secrets":{"k":null}}"#);
        assert_eq!(edit.settings["a"], None);
        assert_eq!(edit.settings["b"], Some(json!(1)));
        assert_eq!(edit.secrets["k"], None);
    }

    #[test]
    fn an_unknown_member_is_refused_by_its_name() {
        let body = r#"{"name":"a","connector":"b","setings":{}}"#;
        let error = serde_json::from_str::<Create>(body).err().unwrap().to_string();
        assert!(error.contains("setings"), "{error}");
    }
}
