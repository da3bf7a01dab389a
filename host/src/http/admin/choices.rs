//! Handlers of `/connections/{id}/choices` and `/connectors/{name}/choices`, which list the values
//! that the tracker has for a setting. They never store the values that a request contains.

use std::sync::Arc;

use axum::extract::State;

use crate::api::{Choice, Choices, ListChoices, ListChoicesOfNew};
use crate::connections::UnstoredConnection;
use crate::domain::{CLIENT_CERT, CLIENT_KEY, ChoicesPage, Settings};
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::json::Json;

use super::connections::host_secrets;
use super::{Body, Id, connection_id, connector_name};

type App = State<Arc<AppState>>;

/// Answers `POST /connections/{id}/choices`: lists the values for a stored connection.
pub(crate) async fn list_for_connection(
    State(app): App,
    Id(id): Id,
    Body(body): Body<ListChoices>,
) -> Result<Json<Choices>, Problem> {
    let id = connection_id(&app, &id)?;
    let listed = app.services.connections.choices(id, &body.setting, &body.search).await?;
    listed.map(to_json_choices).map_err(|refusal| (&refusal).into())
}

/// Answers `POST /connectors/{name}/choices`: lists the values for a connection that a person is
/// about to create.
pub(crate) async fn list_for_new_connection(
    State(app): App,
    Id(name): Id,
    Body(body): Body<ListChoicesOfNew>,
) -> Result<Json<Choices>, Problem> {
    let connector = connector_name(&app, &name)?;
    let host_secrets =
        host_secrets([(CLIENT_CERT, body.client_cert), (CLIENT_KEY, body.client_key)]);
    let secrets = body.secrets.into_iter().chain(host_secrets);
    let values = UnstoredConnection {
        settings: body.settings,
        secrets: secrets.map(|(name, secret)| (name, secret.0)).collect(),
        allow_private: body.allow_private,
        http1_only: body.http1_only,
        report: Settings::new(),
        may_be_incomplete: true,
    };
    let connections = &app.services.connections;
    let listed =
        connections.choices_of_new(&connector, values, &body.setting, &body.search).await?;
    listed.map(to_json_choices).map_err(|refusal| (&refusal).into())
}

fn to_json_choices(page: ChoicesPage) -> Json<Choices> {
    let choices = page.choices.into_iter();
    let choices =
        choices.map(|choice| Choice { value: choice.value, label: choice.label }).collect();
    Json(Choices { choices, more: page.has_more })
}
