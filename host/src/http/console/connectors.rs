//! `/connectors`: the files of the plugins folder, what each asks for, its versions and who uses it.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::Response;

use crate::api::{Connector, ConnectorList, ConnectorStatus, ConnectorVersion, RollbackConnector};
use crate::domain::Role;
use crate::http::AppState;
use crate::http::admin::{Body, Id, connectors};
use crate::http::problem::Problem;
use crate::manifest::Demands;

use super::confirm::Confirm;
use super::flash;
use super::form::Form;
use super::frame::Visitor;
use super::page::{Page, Section, render};
use super::parts::{Action, Badge, Tone, When};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "console/connectors.html")]
struct Connectors {
    page: Page,
    rows: Vec<(Connector, Badge)>,
    folder: String,
}

pub(in crate::http) async fn list(State(app): App, visitor: Visitor) -> Answer {
    let folder = app.plugins_folder();
    let Json(ConnectorList { connectors }) = connectors::list(State(app)).await;
    let row = |it: Connector| {
        let badge = status(&it);
        (it, badge)
    };
    render(&Connectors {
        page: visitor.page(Section::Connectors, "Connectors"),
        rows: connectors.into_iter().map(row).collect(),
        folder: folder.display().to_string(),
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
    /// The ids and names of the connections that use it.
    users: Vec<(String, String)>,
    versions: Vec<Version>,
}

/// A version to which a person may go back.
struct Version {
    it: ConnectorVersion,
    served: When,
    rollback: Action,
}

pub(in crate::http) async fn show(State(app): App, visitor: Visitor, Id(name): Id) -> Answer {
    let all = app.services.connections.list().into_iter().map(|it| it.connection);
    let users = all.filter(|it| it.connector.as_str() == name && visitor.account.sees(it.id));
    let users = users.map(|it| (it.id.to_string(), it.name)).collect();
    let info = app.services.plugins.list().into_iter().find(|it| it.name == name);
    let demands = info.and_then(|it| it.manifest).map(|manifest| manifest.demands());
    let Json(mut it) = connectors::show(State(app), Id(name)).await?;
    let versions = std::mem::take(&mut it.versions).into_iter().map(|version| {
        let href = format!("/connectors/{}/rollback/{}", it.name, version.sha256);
        let rollback = Action::link(&visitor, Role::Author, "Roll back", href);
        Version {
            served: When::new(version.served_at.0, visitor.now),
            rollback: rollback.of_whole_server(&visitor),
            it: version,
        }
    });
    let versions = versions.collect();
    render(&ConnectorPage {
        page: visitor
            .page(Section::Connectors, it.title.clone().unwrap_or_else(|| it.name.clone())),
        status: status(&it),
        demands,
        users,
        versions,
        it,
    })
}

type VersionPath = axum::extract::Path<(String, String)>;

pub(in crate::http) async fn ask_to_roll_back(
    visitor: Visitor,
    axum::extract::Path((name, sha256)): VersionPath,
) -> Answer {
    let back = format!("/connectors/{name}");
    render(&Confirm {
        page: visitor.page(Section::Connectors, format!("Roll {name} back")),
        effects: vec![
            format!("The file in the plugins folder is replaced by the version {sha256}."),
            "Connections that granted what it asks for use it for their next event; runs in progress \
             finish on the present version."
                .to_owned(),
            "The present version is kept, so that you can go back to it.".to_owned(),
        ],
        fields: Vec::new(),
        hidden: Vec::new(),
        action: format!("{back}/rollback/{sha256}"),
        button: "Roll back",
        tone: "primary",
        back,
        back_label: name,
    })
}

pub(in crate::http) async fn roll_back(
    State(app): App,
    axum::extract::Path((name, sha256)): VersionPath,
    _: Form,
) -> Answer {
    let body = Body(RollbackConnector { to: Some(sha256) });
    let _ = connectors::rollback(State(app), Id(name.clone()), body).await?;
    Ok(flash::done(&format!("/connectors/{name}"), "The earlier version serves now."))
}
