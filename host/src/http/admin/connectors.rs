//! `/api/v1/connectors`: the plugins folder, the status of each file, and the way back to an earlier
//! version.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;

use crate::api::{
    Connector, ConnectorList, ConnectorStatus, ConnectorVersion, EnumString, RollbackConnector,
    RolledBack, Time,
};
use crate::domain::{ConnectorName, printable};
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::plugins::{self, ConnectorInfo};

use super::{Body, Id};

pub(in crate::http) async fn list(State(app): State<Arc<AppState>>) -> Json<ConnectorList> {
    let connectors = app.services.plugins.list().into_iter().map(connector).collect();
    Json(ConnectorList { connectors })
}

pub(in crate::http) async fn show(
    State(app): State<Arc<AppState>>,
    Id(name): Id,
) -> Result<Json<Connector>, Problem> {
    with_versions(&app, &name).map(Json)
}

pub(in crate::http) async fn rollback(
    State(app): State<Arc<AppState>>,
    Id(name): Id,
    Body(RollbackConnector { to }): Body<RollbackConnector>,
) -> Result<Json<RolledBack>, Problem> {
    let missing = || Problem::no_such("connector", &name);
    let connector = name.parse::<ConnectorName>().map_err(|_| missing())?;
    let plugins = &app.services.plugins;
    let is_known = plugins.list().iter().any(|info| info.name == name);
    if !is_known && plugins.versions(&connector).is_empty() {
        return Err(missing());
    }
    let plugins::RolledBack { from, file, .. } =
        plugins.rollback(&connector, to.as_deref()).await?;
    let file = std::path::absolute(&file).unwrap_or(file);
    Ok(Json(RolledBack { from, file, connector: with_versions(&app, &name)? }))
}

fn with_versions(app: &AppState, name: &str) -> Result<Connector, Problem> {
    let plugins = &app.services.plugins;
    let found = plugins.list().into_iter().find(|info| info.name == name);
    let shown = found.map(connector).ok_or_else(|| Problem::no_such("connector", name))?;
    let kept = name.parse().map(|name| plugins.versions(&name)).unwrap_or_default();
    let version = |version: plugins::KeptVersion| {
        let served_at = Time(Timestamp::try_from(version.served_at).ok()?);
        Some(ConnectorVersion { sha256: version.sha256, bytes: version.bytes, served_at })
    };
    let versions = kept.into_iter().filter_map(version).collect();
    Ok(Connector { versions, ..shown })
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
        versions: Vec::new(),
    }
}
