//! Handlers of `/api/v1/connectors`, which list the connectors with the status of their files,
//! remove connectors, and roll connectors back to earlier versions. They never compile a file.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;

use crate::api::{
    Connector, ConnectorList, ConnectorStatus, ConnectorVersion, EnumString, ForceQuery,
    RecentUsage, ReplacedConnector, RollbackConnector, Time, UsedLimit,
};
use crate::domain::{Account, ConnectorName, Percentiles, printable};
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::json::Json;
use crate::plugins::{self, ConnectorInfo, Plugins};

use super::{Body, Id, Params};

/// Answers `GET /connectors`.
pub(crate) async fn list(State(app): State<Arc<AppState>>) -> Json<ConnectorList> {
    Json(ConnectorList { connectors: list_connectors(&app) })
}

/// Lists all connectors, sorted by name.
pub(crate) fn list_connectors(app: &AppState) -> Vec<Connector> {
    app.services.plugins.list().into_iter().map(to_api_connector).collect()
}

/// Answers `GET /connectors/{name}`.
pub(crate) async fn show(
    State(app): State<Arc<AppState>>,
    Extension(account): Extension<Account>,
    Id(name): Id,
) -> Result<Json<Connector>, Problem> {
    let listed = connector_with_versions(&app.services.plugins, &name)?;
    let Ok(connector) = name.parse() else { return Ok(Json(listed)) };
    let recent_usage = recent_usage(&app, &account, &connector).await?;
    let source = app.services.plugins.script_source(&connector).await;
    Ok(Json(Connector { recent_usage, source, ..listed }))
}

/// How much of each limit the newest runs of a connector used; `None` if there are no runs. Runs
/// for connections that the account may not see are not counted.
async fn recent_usage(
    app: &AppState,
    account: &Account,
    name: &ConnectorName,
) -> Result<Option<RecentUsage>, Problem> {
    let connections = app.services.connections.list().into_iter().map(|record| record.connection);
    let visible = connections
        .filter(|connection| connection.connector == *name && account.sees(connection.id));
    let store = &app.services.store;
    store.flush().await?;
    let Some(usage) = store.recent_usage(visible.map(|connection| connection.id).collect()).await?
    else {
        return Ok(None);
    };
    let limits = app.services.config.current().limits_of(name);
    let used_limit = |(key, used): (&str, Percentiles)| {
        let limit = limits.value(key).unwrap_or_default();
        (key.to_owned(), UsedLimit { p50: used.p50, p99: used.p99, limit })
    };
    let limits = usage.limits.into_iter().map(used_limit).collect();
    Ok(Some(RecentUsage { runs: usage.runs, since: Time(usage.since), limits }))
}

/// Answers `POST /connectors/{name}/rollback`.
pub(crate) async fn rollback(
    State(app): State<Arc<AppState>>,
    Id(name): Id,
    Body(RollbackConnector { to }): Body<RollbackConnector>,
) -> Result<Json<ReplacedConnector>, Problem> {
    let no_such_connector = || Problem::no_such("connector", &name);
    let connector = name.parse::<ConnectorName>().map_err(|_| no_such_connector())?;
    let plugins = &app.services.plugins;
    let is_known = plugins.list().iter().any(|info| info.name == name);
    if !is_known && plugins.versions(&connector).is_empty() {
        return Err(no_such_connector());
    }
    let plugins::RolledBack { from, file, .. } =
        plugins.rollback(&connector, to.as_deref()).await?;
    let file = std::path::absolute(&file).unwrap_or(file);
    Ok(Json(ReplacedConnector { from, file, connector: connector_with_versions(plugins, &name)? }))
}

/// Answers `DELETE /connectors/{name}`: removes a connector's file. Connections that use the
/// connector keep their settings.
pub(crate) async fn remove(
    State(app): State<Arc<AppState>>,
    Id(name): Id,
    Params(ForceQuery { force }): Params<ForceQuery>,
) -> Result<StatusCode, Problem> {
    let connector: ConnectorName =
        name.parse().map_err(|_| Problem::no_such("connector", &name))?;
    let records = app.services.connections.list().into_iter();
    let users = records.filter(|record| record.connection.connector == connector);
    let users: Vec<_> = users.map(|record| record.connection.name).collect();
    if !users.is_empty() && !force && app.services.plugins.has(&connector) {
        return Err(Problem::conflict(format!(
            "`{connector}` is used by {}: without it, these connections can create no defects. \
             Delete the connections first, or use `--force` (`?force=true`)",
            users.join(", ")
        )));
    }
    app.services.plugins.remove(&connector).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Finds a connector by its name, and lists the versions that a rollback can restore.
pub(super) fn connector_with_versions(plugins: &Plugins, name: &str) -> Result<Connector, Problem> {
    let found = plugins.list().into_iter().find(|info| info.name == name);
    let listed = found.map(to_api_connector).ok_or_else(|| Problem::no_such("connector", name))?;
    let kept_versions = name.parse().map(|name| plugins.versions(&name)).unwrap_or_default();
    let version = |version: plugins::KeptVersion| {
        let served_at = Time(Timestamp::try_from(version.used_from).ok()?);
        Some(ConnectorVersion { sha256: version.sha256, bytes: version.bytes, served_at })
    };
    let versions = kept_versions.into_iter().filter_map(version).collect();
    Ok(Connector { versions, ..listed })
}

/// Converts a connector for an answer, without its versions, its usage and its source code.
fn to_api_connector(info: ConnectorInfo) -> Connector {
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
        recent_usage: None,
        source: None,
    }
}
