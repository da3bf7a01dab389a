//! The page on which a person consents to the grants that the newest version of a connector needs.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::api::{Connection, EditConnection};
use crate::connections::ConnectionError;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Layout, Section, render, render_invalid};
use crate::console::parts::Field;
use crate::domain::{ConnectionRecord, Settings};
use crate::http::admin::Id;
use crate::http::admin::connections::connection_edit;
use crate::http::admin::etag::IfMatch;
use crate::http::problem::Problem;
use crate::http::{AppState, admin};
use crate::manifest::SettingError;

use super::create::newest_manifest;
use super::schema::value_declarations;
use super::{find_connection, input};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "console/connections/consent.html")]
struct ConsentPage {
    layout: Layout,
    connection: Connection,
    /// A phrase for each grant that the newest version needs in addition to the present grants.
    new_demands: Vec<String>,
    newest_version: String,
    newest_sha256: String,
    /// A field for each required setting or secret that the connection does not have yet.
    fields: Vec<Field>,
    errors: Vec<SettingError>,
}

pub(in crate::console) async fn show_consent_page(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    let record = find_connection(&app, &visitor, &id)?;
    render(&consent_page(&app, &visitor, &record, Vec::new())?)
}

fn consent_page(
    app: &AppState,
    visitor: &Visitor,
    record: &ConnectionRecord,
    errors: Vec<SettingError>,
) -> Result<ConsentPage, Problem> {
    let connection = admin::connections::to_api_connection(app, record);
    let newest = newest_manifest(app, &connection.connector)?;
    let is_missing = |name: &str| {
        !connection.settings.contains_key(name)
            && !connection.secrets_set.iter().any(|set| set == name)
    };
    let declarations = value_declarations(&newest.settings_schema);
    let missing =
        declarations.iter().filter(|it| it.is_required && !it.is_fixed() && is_missing(it.name));
    Ok(ConsentPage {
        layout: visitor.layout(Section::Connections, format!("Consent for {}", connection.name)),
        new_demands: connection.needs_consent.clone().unwrap_or_default(),
        newest_version: newest.version.to_string(),
        newest_sha256: connection.newest_sha256.clone().unwrap_or_default(),
        fields: missing.map(|it| it.field(None, false, "")).collect(),
        errors,
        connection,
    })
}

/// Grants what the newest version needs. Grants nothing if the page showed another version.
pub(in crate::console) async fn accept_newest_version(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Answer {
    let record = find_connection(&app, &visitor, &id)?;
    let schema = newest_manifest(&app, record.connection.connector.as_str())?.settings_schema;
    let all = value_declarations(&schema);
    let is_in_form = |name: &str| form.find(name).is_some();
    let settings = all.into_iter().filter(|it| is_in_form(&it.field_name())).collect::<Vec<_>>();
    let secrets = input::read_secrets(&form, &settings).into_iter();
    let edit = EditConnection {
        settings: input::changed_settings(&form, &settings, &Settings::new()),
        secrets: secrets.map(|(name, value)| (name, Some(value))).collect(),
        ..EditConnection::default()
    };
    let (id, stored) = (record.connection.id, &record.connection);
    let edit = connection_edit(&visitor.account, stored, edit, false, IfMatch::default())?;
    match app.services.connections.accept(id, edit, form.get("sha256")).await {
        Ok(_) => {
            let text = "The connection uses the newest version of its connector now.";
            Ok(flash::redirect_with_success(&format!("/connections/{id}"), text))
        }
        Err(ConnectionError::Invalid(errors)) => {
            render_invalid(&consent_page(&app, &visitor, &record, errors)?)
        }
        Err(error) => Err(error.into()),
    }
}
