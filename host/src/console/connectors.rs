//! `/connectors`: the files of the plugins folder, what each asks for, what its runs used lately,
//! its versions and who uses it.

mod remove;
mod rollback;
mod upload;
mod words;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};

use crate::api::{Connector, ConnectorStatus, ConnectorVersion};
use crate::domain::Role;
use crate::http::AppState;
use crate::http::admin::{Id, connectors};
use crate::http::problem::Problem;
use crate::manifest::{DeclaredValue, Demands};

use super::frame::Visitor;
use super::page::{Page, Section, render};
use super::parts::{Action, Badge, Tone, When};
use words::UsedRow;

pub(super) use remove::{ask_to_remove, remove};
pub(super) use rollback::{ask_to_roll_back, roll_back};
pub(super) use upload::upload;

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "console/connectors.html")]
struct Connectors {
    page: Page,
    rows: Vec<(Connector, Badge)>,
    folder: String,
    upload: UploadForm,
}

/// The form that uploads a file.
struct UploadForm {
    /// Why this account may not use it.
    refused: Option<String>,
    /// The connector that gets another version; absent: the form asks for the name.
    name: Option<String>,
    /// Why the last file was refused.
    error: Option<String>,
}

impl UploadForm {
    fn new(visitor: &Visitor, name: Option<String>, error: Option<String>) -> Self {
        let account = &visitor.account;
        let refused = if !account.may(Role::Author) {
            Some(format!("needs the role {}", Role::Author))
        } else {
            let limited = account.connections.is_some();
            limited.then(|| "needs an account for all connections".to_owned())
        };
        Self { refused, name, error }
    }
}

pub(super) async fn list(State(app): App, visitor: Visitor) -> Answer {
    list_page(&app, &visitor, None)
}

/// The list, with the reason why an uploaded file was refused.
fn list_page(app: &AppState, visitor: &Visitor, error: Option<String>) -> Answer {
    let folder = app.plugins_folder();
    let row = |it: Connector| {
        let badge = status(&it);
        (it, badge)
    };
    render(&Connectors {
        page: visitor.page(Section::Connectors, "Connectors"),
        rows: connectors::all(app).into_iter().map(row).collect(),
        folder: folder.display().to_string(),
        upload: UploadForm::new(visitor, None, error),
    })
}

fn status(it: &Connector) -> Badge {
    let (tone, word) = match (it.status.0, &it.warning) {
        (ConnectorStatus::Ready, None) => (Tone::Ok, "ready"),
        (ConnectorStatus::Ready, Some(_)) => (Tone::Warn, "all runs fail"),
        (ConnectorStatus::Compiling, _) => (Tone::Info, "compiling"),
        (ConnectorStatus::Broken, _) => (Tone::Bad, "broken"),
    };
    Badge::new(tone, word)
}

#[derive(Template)]
#[template(path = "console/connector.html")]
struct ConnectorPage {
    page: Page,
    it: Connector,
    status: Badge,
    /// What the version in use asks for; absent if no version can be used.
    demands: Option<Demands>,
    /// What the version in use can do.
    abilities: Vec<String>,
    /// The settings and secrets of a connection.
    values: Vec<DeclaredValue>,
    used: Option<Used>,
    /// The ids and names of the connections that use it.
    users: Vec<(String, String)>,
    versions: Vec<Version>,
    source: Option<Source>,
    upload: UploadForm,
    remove: Action,
}

/// What its runs used lately.
struct Used {
    runs: u64,
    since: When,
    rows: Vec<UsedRow>,
}

/// The text of a script, as much of it as a page can have.
struct Source {
    text: String,
    is_cut: bool,
}

/// Maximum length of a script's text in the page, characters.
const SOURCE_CHARS_MAX: usize = 60_000;

impl Source {
    fn new(text: &str) -> Self {
        let is_cut = text.chars().nth(SOURCE_CHARS_MAX).is_some();
        Self { text: text.chars().take(SOURCE_CHARS_MAX).collect(), is_cut }
    }
}

/// A version to which a person may go back.
struct Version {
    it: ConnectorVersion,
    served: When,
    rollback: Action,
}

pub(super) async fn show(State(app): App, visitor: Visitor, Id(name): Id) -> Answer {
    let info = app.services.plugins.list().into_iter().find(|it| it.name == name);
    let manifest = info.and_then(|it| it.manifest);
    let account = Extension(visitor.account.clone());
    let shown = connectors::show(State(Arc::clone(&app)), account, Id(name.clone())).await?;
    let Json(mut it) = shown;
    let mut versions = std::mem::take(&mut it.versions);
    // Going back to the version in use would change nothing.
    versions.retain(|version| it.sha256.as_ref() != Some(&version.sha256));
    let remove = format!("/connectors/{name}/remove");
    let remove = Action::link(&visitor, Role::Author, "Remove", remove).danger();
    render(&ConnectorPage {
        page: visitor
            .page(Section::Connectors, it.title.clone().unwrap_or_else(|| it.name.clone())),
        status: status(&it),
        demands: manifest.as_ref().map(|manifest| manifest.demands()),
        abilities: words::abilities(&it),
        values: manifest.map(|manifest| manifest.declared_values()).unwrap_or_default(),
        used: it.recent_usage.as_ref().map(|usage| Used {
            runs: usage.runs,
            since: When::new(usage.since.0, visitor.now),
            rows: words::used(usage),
        }),
        users: users(&app, &visitor, &name),
        versions: versions.into_iter().map(|version| offered(&visitor, &name, version)).collect(),
        source: it.source.as_deref().map(Source::new),
        upload: UploadForm::new(&visitor, Some(name), None),
        remove: remove.of_whole_server(&visitor),
        it,
    })
}

/// A version with the button that puts it back.
fn offered(visitor: &Visitor, name: &str, it: ConnectorVersion) -> Version {
    let href = format!("/connectors/{name}/rollback/{}", it.sha256);
    let rollback = Action::link(visitor, Role::Author, "Roll back", href);
    Version {
        served: When::new(it.served_at.0, visitor.now),
        rollback: rollback.of_whole_server(visitor),
        it,
    }
}

/// The ids and names of the connections that use a connector, as far as the visitor sees them.
fn users(app: &AppState, visitor: &Visitor, name: &str) -> Vec<(String, String)> {
    let all = app.services.connections.list().into_iter().map(|it| it.connection);
    let users = all.filter(|it| it.connector.as_str() == name && visitor.account.sees(it.id));
    users.map(|it| (it.id.to_string(), it.name)).collect()
}
