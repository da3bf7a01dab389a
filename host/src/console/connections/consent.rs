//! `/connections/{id}/consent`: what the newest version of a connector wants beyond what was
//! granted, and the consent of a person.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::api::{Connection, EditConnection};
use crate::connections::ConnectionError;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Page, Section, render, render_again};
use crate::console::parts::Field;
use crate::domain::{ConnectionRecord, Settings};
use crate::http::admin::Id;
use crate::http::admin::connections::connection_edit;
use crate::http::admin::etag::IfMatch;
use crate::http::problem::Problem;
use crate::http::{AppState, admin};
use crate::manifest::SettingError;

use super::create::manifest;
use super::schema::declared;
use super::{found, input};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "console/connections/consent.html")]
struct Consent {
    page: Page,
    it: Connection,
    /// What the newest version wants more.
    more: Vec<String>,
    newest: String,
    sha256: String,
    /// Settings that only the newest version has.
    fields: Vec<Field>,
    errors: Vec<SettingError>,
}

pub(in crate::console) async fn show(State(app): App, visitor: Visitor, Id(id): Id) -> Answer {
    let record = found(&app, &visitor, &id)?;
    render(&page(&app, &visitor, &record, Vec::new())?)
}

fn page(
    app: &AppState,
    visitor: &Visitor,
    record: &ConnectionRecord,
    errors: Vec<SettingError>,
) -> Result<Consent, Problem> {
    let it = admin::connections::connection(app, record);
    let newest = manifest(app, &it.connector)?;
    let is_missing = |name: &str| {
        !it.settings.contains_key(name) && !it.secrets_set.iter().any(|set| set == name)
    };
    let missing = declared(&newest.settings_schema);
    let missing =
        missing.iter().filter(|it| it.is_required && !it.is_fixed() && is_missing(it.name));
    Ok(Consent {
        page: visitor.page(Section::Connections, format!("Consent for {}", it.name)),
        more: it.needs_consent.clone().unwrap_or_default(),
        newest: newest.version.to_string(),
        sha256: it.newest_sha256.clone().unwrap_or_default(),
        fields: missing.map(|it| it.field(None, false, "")).collect(),
        errors,
        it,
    })
}

/// Grants what the version that the person looked at asks for.
pub(in crate::console) async fn accept(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Answer {
    let record = found(&app, &visitor, &id)?;
    let schema = manifest(&app, record.connection.connector.as_str())?.settings_schema;
    let all = declared(&schema);
    let is_shown = |name: &str| form.find(name).is_some();
    let settings = all.into_iter().filter(|it| is_shown(&it.field_name())).collect::<Vec<_>>();
    let secrets = input::secrets(&form, &settings).into_iter();
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
            Ok(flash::done(&format!("/connections/{id}"), text))
        }
        Err(ConnectionError::Invalid(errors)) => {
            render_again(&page(&app, &visitor, &record, errors)?)
        }
        Err(error) => Err(error.into()),
    }
}
