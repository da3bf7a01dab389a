//! `/api/v1/connectors`: the plugins folder and the status of each file.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::api::{Connector, ConnectorList, ConnectorStatus, EnumString, Time};
use crate::domain::printable;
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::plugins::{self, ConnectorInfo};

use super::Id;

pub(in crate::http) async fn list(State(app): State<Arc<AppState>>) -> Json<ConnectorList> {
    let connectors = app.services.plugins.list().into_iter().map(connector).collect();
    Json(ConnectorList { connectors })
}

pub(in crate::http) async fn show(
    State(app): State<Arc<AppState>>,
    Id(name): Id,
) -> Result<Json<Connector>, Problem> {
    let all = app.services.plugins.list();
    let found = all.into_iter().find(|connector| connector.name == name);
    found.map(connector).map(Json).ok_or_else(|| Problem::no_such("connector", &name))
}

fn connector(info: ConnectorInfo) -> Connector {
    let manifest = info.manifest;
    Connector {
        name: info.name,
        status: EnumString(match info.status {
            plugins::ConnectorStatus::Ready => ConnectorStatus::Ready,
            plugins::ConnectorStatus::Compiling => ConnectorStatus::Compiling,
            plugins::ConnectorStatus::Broken => ConnectorStatus::Broken,
        }),
        sha256: info.sha256,
        interfaces: info.interfaces.names().map(str::to_owned).collect(),
        version: manifest.as_ref().map(|manifest| manifest.version.to_string()),
        title: manifest.as_ref().map(|manifest| manifest.name.clone()),
        summary: manifest.as_ref().map(|manifest| manifest.summary.clone()),
        homepage: manifest.as_ref().and_then(|manifest| manifest.homepage.clone()),
        index_delay_s: manifest.as_ref().and_then(|manifest| manifest.index_delay_s),
        settings_schema: manifest.map(|manifest| manifest.settings_schema),
        error: info.error.as_deref().map(printable),
        broken_sha256: info.broken_sha256,
        warning: info.warning,
        loaded_at: info.loaded_at.map(Time),
    }
}
