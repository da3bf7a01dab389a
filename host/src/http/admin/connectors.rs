//! `/api/v1/connectors`: the plugins folder, the status of each file, its removal, and the way back
//! to an earlier version.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use jiff::Timestamp;

use crate::api::{
    Connector, ConnectorList, ConnectorStatus, ConnectorVersion, EnumString, ForceQuery,
    RecentUsage, ReplacedConnector, RollbackConnector, Time, UsedLimit,
};
use crate::domain::{Account, ConnectorName, Percentiles, printable};
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::plugins::{self, ConnectorInfo, Plugins};

use super::{Body, Id, Params};

pub(crate) async fn list(State(app): State<Arc<AppState>>) -> Json<ConnectorList> {
    Json(ConnectorList { connectors: all(&app) })
}

/// All connectors, by name.
pub(crate) fn all(app: &AppState) -> Vec<Connector> {
    app.services.plugins.list().into_iter().map(connector).collect()
}

pub(crate) async fn show(
    State(app): State<Arc<AppState>>,
    Extension(account): Extension<Account>,
    Id(name): Id,
) -> Result<Json<Connector>, Problem> {
    let shown = with_versions(&app.services.plugins, &name)?;
    let Ok(connector) = name.parse() else { return Ok(Json(shown)) };
    let recent_usage = recent_usage(&app, &account, &connector).await?;
    let source = app.services.plugins.script_source(&connector).await;
    Ok(Json(Connector { recent_usage, source, ..shown }))
}

/// What the newest runs of a connector used, for the connections that the account sees.
async fn recent_usage(
    app: &AppState,
    account: &Account,
    name: &ConnectorName,
) -> Result<Option<RecentUsage>, Problem> {
    let all = app.services.connections.list().into_iter().map(|it| it.connection);
    let own = all.filter(|it| it.connector == *name && account.sees(it.id));
    let store = &app.services.store;
    store.flush().await?;
    let Some(usage) = store.recent_usage(own.map(|it| it.id).collect()).await? else {
        return Ok(None);
    };
    let limits = app.services.config.now().limits_of(name);
    let of_limit = |(key, used): (&str, Percentiles)| {
        let limit = limits.value(key).unwrap_or_default();
        (key.to_owned(), UsedLimit { p50: used.p50, p99: used.p99, limit })
    };
    let limits = usage.limits.into_iter().map(of_limit).collect();
    Ok(Some(RecentUsage { runs: usage.runs, since: Time(usage.since), limits }))
}

pub(crate) async fn rollback(
    State(app): State<Arc<AppState>>,
    Id(name): Id,
    Body(RollbackConnector { to }): Body<RollbackConnector>,
) -> Result<Json<ReplacedConnector>, Problem> {
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
    Ok(Json(ReplacedConnector { from, file, connector: with_versions(plugins, &name)? }))
}

/// Removes a connector's file. Connections that use the connector keep their settings.
pub(crate) async fn remove(
    State(app): State<Arc<AppState>>,
    Id(name): Id,
    Params(ForceQuery { force }): Params<ForceQuery>,
) -> Result<StatusCode, Problem> {
    let connector: ConnectorName =
        name.parse().map_err(|_| Problem::no_such("connector", &name))?;
    let all = app.services.connections.list().into_iter();
    let users = all.filter(|it| it.connection.connector == connector);
    let users: Vec<_> = users.map(|it| it.connection.name).collect();
    if !users.is_empty() && !force && app.services.plugins.has(&connector) {
        return Err(Problem::conflict(format!(
            "`{connector}` is used by {}, which would answer 503: delete them first, or use `--force` \
             (`?force=true`)",
            users.join(", ")
        )));
    }
    app.services.plugins.remove(&connector).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn with_versions(plugins: &Plugins, name: &str) -> Result<Connector, Problem> {
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
        recent_usage: None,
        source: None,
    }
}
