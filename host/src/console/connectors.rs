//! The list of the connectors, and the page of one connector.

mod describe;
mod remove;
mod rollback;
mod upload;

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use crate::api::{Connector, ConnectorStatus, ConnectorVersion};
use crate::domain::Role;
use crate::http::AppState;
use crate::http::admin::connections::to_api_connection;
use crate::http::admin::{Id, connectors};
use crate::http::problem::Problem;
use crate::json::Json;
use crate::manifest::{DeclaredValue, RequiredAccess};

use super::frame::Visitor;
use super::page::{Layout, Section, render};
use super::parts::{Action, Badge, RelativeTime, Tone};
use describe::UsedLimitRow;

pub(super) use remove::{ask_to_remove_connector, remove_connector};
pub(super) use rollback::{ask_to_roll_back_connector, roll_back_connector};
pub(super) use upload::upload_connector;

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "console/connectors.html")]
struct ConnectorsPage {
    layout: Layout,
    rows: Vec<(Connector, Badge)>,
    folder: String,
    upload_form: UploadForm,
}

struct UploadForm {
    /// The reason why this account may not upload files.
    refusal_reason: Option<String>,
    /// The connector that gets a new version. If it is `None`, the form asks for the name.
    name: Option<String>,
    /// The reason why the last upload was refused.
    error: Option<String>,
}

impl UploadForm {
    fn new(visitor: &Visitor, name: Option<String>, error: Option<String>) -> Self {
        let account = &visitor.account;
        let refusal_reason = if !account.may(Role::Author) {
            Some(format!("needs the role {}", Role::Author))
        } else {
            let is_limited = account.connections.is_some();
            is_limited.then(|| "needs an account for all connections".to_owned())
        };
        Self { refusal_reason, name, error }
    }
}

pub(super) async fn list_connectors(State(app): App, visitor: Visitor) -> Answer {
    list_page(&app, &visitor, None)
}

/// `error` is the reason why an uploaded file was refused.
fn list_page(app: &AppState, visitor: &Visitor, error: Option<String>) -> Answer {
    let folder = app.plugins_folder();
    let row = |connector: Connector| {
        let badge = status_badge(&connector);
        (connector, badge)
    };
    render(&ConnectorsPage {
        layout: visitor.layout(Section::Connectors, "Connectors"),
        rows: connectors::list_connectors(app).into_iter().map(row).collect(),
        folder: folder.display().to_string(),
        upload_form: UploadForm::new(visitor, None, error),
    })
}

/// Says that the newest version of a connector is in use, and how many connections wait for consent
/// to it.
fn in_use_now(app: &AppState, connector: &str) -> String {
    let records = app.services.connections.list().into_iter();
    let users = records.filter(|record| record.connection.connector.as_str() == connector);
    let waiting = users.filter(|record| to_api_connection(app, record).needs_consent.is_some());
    match waiting.count() {
        0 => "is in use now".to_owned(),
        count => format!("is in use now, except by connections that wait for consent ({count})"),
    }
}

fn status_badge(connector: &Connector) -> Badge {
    let (tone, text) = match (connector.status.0, &connector.warning) {
        (ConnectorStatus::Ready, None) => (Tone::Ok, "ready"),
        (ConnectorStatus::Ready, Some(_)) => (Tone::Warn, "all runs fail"),
        (ConnectorStatus::Compiling, _) => (Tone::Info, "compiling"),
        (ConnectorStatus::Broken, _) => (Tone::Bad, "broken"),
    };
    Badge::new(tone, text)
}

#[derive(Template)]
#[template(path = "console/connector.html")]
struct ConnectorPage {
    layout: Layout,
    connector: Connector,
    status: Badge,
    /// `None` if no version can be used.
    required_access: Option<RequiredAccess>,
    reads_test_data: bool,
    /// One phrase for each ability.
    abilities: Vec<String>,
    declared_values: Vec<DeclaredValue>,
    /// `None` if no run is stored that the account may see.
    usage: Option<LimitUsage>,
    /// Ids and names.
    connections: Vec<(String, String)>,
    /// The stored versions, without the version in use.
    versions: Vec<VersionRow>,
    /// `None` if the connector is not a script.
    script_source: Option<ScriptSource>,
    upload_form: UploadForm,
    remove_action: Action,
}

struct LimitUsage {
    runs: u64,
    oldest_run: RelativeTime,
    rows: Vec<UsedLimitRow>,
}

/// Shortened to [`SOURCE_CHARS_MAX`].
struct ScriptSource {
    text: String,
    is_truncated: bool,
}

/// Maximum length of a script's source text on a page, characters.
const SOURCE_CHARS_MAX: usize = 60_000;

impl ScriptSource {
    fn new(text: &str) -> Self {
        let is_truncated = text.chars().nth(SOURCE_CHARS_MAX).is_some();
        Self { text: text.chars().take(SOURCE_CHARS_MAX).collect(), is_truncated }
    }
}

struct VersionRow {
    version: ConnectorVersion,
    /// The last time at which the version came into use, see [`ConnectorVersion::served_at`].
    used_from: RelativeTime,
    rollback_action: Action,
}

pub(super) async fn show_connector(State(app): App, visitor: Visitor, Id(name): Id) -> Answer {
    let info = app.services.plugins.list().into_iter().find(|it| it.name == name);
    let manifest = info.and_then(|it| it.manifest);
    let account = Extension(visitor.account.clone());
    let Json(mut connector) =
        connectors::show(State(Arc::clone(&app)), account, Id(name.clone())).await?;
    let mut versions = std::mem::take(&mut connector.versions);
    // A rollback to the version in use would change nothing.
    versions.retain(|version| connector.sha256.as_ref() != Some(&version.sha256));
    let remove = format!("/connectors/{name}/remove");
    let remove = Action::link(&visitor, Role::Author, "Remove", remove).danger();
    let title = connector.title.clone().unwrap_or_else(|| connector.name.clone());
    render(&ConnectorPage {
        layout: visitor.layout(Section::Connectors, title),
        status: status_badge(&connector),
        required_access: manifest.as_ref().map(|manifest| manifest.required_access()),
        reads_test_data: manifest.as_ref().is_some_and(|manifest| manifest.reads_test_data),
        abilities: describe::abilities(&connector),
        declared_values: manifest.map(|manifest| manifest.declared_values()).unwrap_or_default(),
        usage: connector.recent_usage.as_ref().map(|usage| LimitUsage {
            runs: usage.runs,
            oldest_run: RelativeTime::new(usage.since.0, visitor.now),
            rows: describe::used_limits(usage),
        }),
        connections: connections_of(&app, &visitor, &name),
        versions: versions.into_iter().map(|it| version_row(&visitor, &name, it)).collect(),
        script_source: connector.source.as_deref().map(ScriptSource::new),
        upload_form: UploadForm::new(&visitor, Some(name), None),
        remove_action: remove.for_all_connections(&visitor),
        connector,
    })
}

fn version_row(visitor: &Visitor, name: &str, version: ConnectorVersion) -> VersionRow {
    let href = format!("/connectors/{name}/rollback/{}", version.sha256);
    let rollback = Action::link(visitor, Role::Author, "Roll back", href);
    VersionRow {
        used_from: RelativeTime::new(version.served_at.0, visitor.now),
        rollback_action: rollback.for_all_connections(visitor),
        version,
    }
}

/// Returns the ids and names of the connections that use a connector and that the visitor may see.
fn connections_of(app: &AppState, visitor: &Visitor, name: &str) -> Vec<(String, String)> {
    let all = app.services.connections.list().into_iter().map(|it| it.connection);
    let users = all.filter(|it| it.connector.as_str() == name && visitor.account.sees(it.id));
    users.map(|it| (it.id.to_string(), it.name)).collect()
}
