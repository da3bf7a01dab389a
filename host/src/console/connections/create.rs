//! `/connections/new`: creates a connection. A person first chooses a connector, and then enters
//! the values that it needs.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use crate::connections::ConnectionError;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Page, Section, render, render_invalid};
use crate::domain::ConnectorName;
use crate::http::AppState;
use crate::http::admin::connections::{new_connection, webhook_url};
use crate::http::audit::CreatedObject;
use crate::http::problem::Problem;
use crate::manifest::Manifest;
use crate::plugins::ConnectorStatus;

use super::actions::IssuedPage;
use super::form::{FormPage, Texts, fields};
use super::input;

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Debug, Deserialize)]
pub(in crate::console) struct CreateQuery {
    connector: Option<String>,
}

#[derive(Template)]
#[template(path = "console/connections/choose.html")]
struct ChoosePage {
    page: Page,
    connectors: Vec<ReadyConnector>,
    folder: String,
}

/// A connector that a person can choose.
struct ReadyConnector {
    name: String,
    manifest: Manifest,
}

/// Shows the list of connectors or, if one is chosen, its form.
pub(in crate::console) async fn show(
    State(app): App,
    visitor: Visitor,
    Query(CreateQuery { connector }): Query<CreateQuery>,
) -> Answer {
    let Some(connector) = connector else { return choose_page(&app, &visitor) };
    let texts = Texts { form: None, stored: None };
    render(&form_page(&app, &visitor, &connector, texts)?)
}

fn choose_page(app: &AppState, visitor: &Visitor) -> Answer {
    let all = app.services.plugins.list().into_iter();
    let ready = all.filter(|it| it.status == ConnectorStatus::Ready);
    let connectors =
        ready.filter_map(|it| Some(ReadyConnector { name: it.name, manifest: it.manifest? }));
    let folder = app.plugins_folder();
    render(&ChoosePage {
        page: visitor.page(Section::Connections, "New connection"),
        connectors: connectors.collect(),
        folder: folder.display().to_string(),
    })
}

/// The page with the form for a new connection.
pub(super) fn form_page(
    app: &AppState,
    visitor: &Visitor,
    connector: &str,
    texts: Texts<'_>,
) -> Result<FormPage, Problem> {
    let manifest = manifest(app, connector)?;
    Ok(FormPage {
        page: visitor.page(Section::Connections, format!("New connection with {}", manifest.name)),
        action: format!("/connections/new?connector={connector}"),
        back: ("/connections/new".to_owned(), "Connectors".to_owned()),
        summary: manifest.summary.clone(),
        button: "Create connection",
        errors: Vec::new(),
        has_errors: false,
        conflict: None,
        hidden: Vec::new(),
        fields: fields(
            &manifest.settings_schema,
            texts,
            &format!("/connections/new/choices?connector={connector}&"),
        ),
        report: None,
    })
}

/// The manifest of the newest version of a connector.
pub(super) fn manifest(app: &AppState, connector: &str) -> Result<Manifest, Problem> {
    let name = connector.parse::<ConnectorName>();
    let name = name.map_err(|_| Problem::no_such("connector", connector))?;
    let newest = app.services.plugins.newest(&name);
    let newest = newest.map_err(|error| Problem::from(ConnectionError::from(error)))?;
    Ok(newest.manifest().clone())
}

/// Creates the connection, and shows its webhook URL once.
pub(in crate::console) async fn create(
    State(app): App,
    visitor: Visitor,
    Query(CreateQuery { connector }): Query<CreateQuery>,
    form: Form,
) -> Answer {
    let connector = connector.unwrap_or_default();
    let manifest = manifest(&app, &connector)?;
    let created = match input::new_connection(&form, &connector, &manifest.settings_schema) {
        Ok(new) => app.services.connections.create(new_connection(new)?).await,
        Err(errors) => Err(ConnectionError::Invalid(errors)),
    };
    match created {
        Ok(issued) => {
            let id = issued.record.connection.id;
            let object = CreatedObject(issued.record.connection.name.clone());
            let page = render(&IssuedPage {
                page: visitor.page(Section::Connections, "The connection was created"),
                back: format!("/connections/{id}"),
                url: webhook_url(&app, &issued),
                is_new: true,
            });
            Ok((Extension(object), page?).into_response())
        }
        Err(ConnectionError::Invalid(errors)) => {
            let texts = Texts { form: Some(&form), stored: None };
            let page = form_page(&app, &visitor, &connector, texts)?.with_errors(errors);
            render_invalid(&page)
        }
        Err(error) => Err(error.into()),
    }
}
