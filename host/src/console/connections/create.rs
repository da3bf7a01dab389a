//! The page that creates a connection. A person first chooses a connector, and then enters the
//! values that it needs.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use crate::connections::ConnectionError;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Layout, Section, render, render_invalid};
use crate::domain::ConnectorName;
use crate::http::AppState;
use crate::http::admin::connections::{new_connection, webhook_url};
use crate::http::audit::CreatedObject;
use crate::http::problem::Problem;
use crate::manifest::Manifest;
use crate::plugins::ConnectorStatus;

use super::actions::WebhookUrlPage;
use super::form::{FormPage, TextSource, form_fields};
use super::input;

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Debug, Deserialize)]
pub(in crate::console) struct CreateQuery {
    /// `None` before a person has chosen a connector.
    connector: Option<String>,
}

#[derive(Template)]
#[template(path = "console/connections/choose.html")]
struct ChooseConnectorPage {
    layout: Layout,
    connectors: Vec<ReadyConnector>,
    /// The path of the plugins folder.
    folder: String,
}

struct ReadyConnector {
    name: String,
    manifest: Manifest,
}

/// If no connector is chosen, shows the list of connectors.
pub(in crate::console) async fn show_new_connection(
    State(app): App,
    visitor: Visitor,
    Query(CreateQuery { connector }): Query<CreateQuery>,
) -> Answer {
    let Some(connector) = connector else { return choose_connector_page(&app, &visitor) };
    let texts = TextSource { sent_form: None, stored_connection: None };
    render(&form_page(&app, &visitor, &connector, texts)?)
}

fn choose_connector_page(app: &AppState, visitor: &Visitor) -> Answer {
    let all = app.services.plugins.list().into_iter();
    let ready = all.filter(|it| it.status == ConnectorStatus::Ready);
    let connectors =
        ready.filter_map(|it| Some(ReadyConnector { name: it.name, manifest: it.manifest? }));
    let folder = app.plugins_folder();
    render(&ChooseConnectorPage {
        layout: visitor.layout(Section::Connections, "New connection"),
        connectors: connectors.collect(),
        folder: folder.display().to_string(),
    })
}

pub(super) fn form_page(
    app: &AppState,
    visitor: &Visitor,
    connector: &str,
    texts: TextSource<'_>,
) -> Result<FormPage, Problem> {
    let manifest = newest_manifest(app, connector)?;
    Ok(FormPage {
        layout: visitor
            .layout(Section::Connections, format!("New connection with {}", manifest.name)),
        submit_href: format!("/connections/new?connector={connector}"),
        back_link: ("/connections/new".to_owned(), "Connectors".to_owned()),
        summary: manifest.summary.clone(),
        button_label: "Create connection",
        errors: Vec::new(),
        has_errors: false,
        conflict: None,
        hidden_fields: Vec::new(),
        fields: form_fields(
            &manifest.settings_schema,
            texts,
            &format!("/connections/new/choices?connector={connector}&"),
        ),
        report_form: None,
    })
}

pub(super) fn newest_manifest(app: &AppState, connector: &str) -> Result<Manifest, Problem> {
    let name = connector.parse::<ConnectorName>();
    let name = name.map_err(|_| Problem::no_such("connector", connector))?;
    let newest = app.services.plugins.newest(&name);
    let newest = newest.map_err(|error| Problem::from(ConnectionError::from(error)))?;
    Ok(newest.manifest().clone())
}

/// Creates a connection, and shows its webhook URL once.
pub(in crate::console) async fn create_connection(
    State(app): App,
    visitor: Visitor,
    Query(CreateQuery { connector }): Query<CreateQuery>,
    form: Form,
) -> Answer {
    let connector = connector.unwrap_or_default();
    let manifest = newest_manifest(&app, &connector)?;
    let created = match input::read_new_connection(&form, &connector, &manifest.settings_schema) {
        Ok(new) => app.services.connections.create(new_connection(new)?).await,
        Err(errors) => Err(ConnectionError::Invalid(errors)),
    };
    match created {
        Ok(issued) => {
            let id = issued.record.connection.id;
            let object = CreatedObject(issued.record.connection.name.clone());
            let page = render(&WebhookUrlPage {
                layout: visitor.layout(Section::Connections, "The connection was created"),
                connection_href: format!("/connections/{id}"),
                webhook_url: webhook_url(&app, &issued),
                is_new: true,
            });
            Ok((Extension(object), page?).into_response())
        }
        Err(ConnectionError::Invalid(errors)) => {
            let texts = TextSource { sent_form: Some(&form), stored_connection: None };
            let page = form_page(&app, &visitor, &connector, texts)?.with_errors(errors);
            render_invalid(&page)
        }
        Err(error) => Err(error.into()),
    }
}
