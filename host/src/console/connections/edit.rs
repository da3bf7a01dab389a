//! `/connections/{id}/edit`: the form that edits a connection.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::connections::ConnectionError;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Section, render, render_invalid, render_refused};
use crate::domain::{ConnectionRecord, OutcomeCode};
use crate::http::admin::Id;
use crate::http::admin::connections::connection_edit;
use crate::http::admin::etag::IfMatch;
use crate::http::problem::Problem;
use crate::http::{AppState, admin};
use crate::manifest::{Manifest, SettingError};

use super::edit_conflict::{SeenState, merge};
use super::form::{FormPage, Texts, fields};
use super::report::ReportForm;
use super::{find_connection, input};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

pub(in crate::console) async fn show(State(app): App, visitor: Visitor, Id(id): Id) -> Answer {
    let record = find_connection(&app, &visitor, &id)?;
    render(&form_page(&app, &visitor, &record, None)?)
}

/// The page with the form. It contains the texts of `form`, or if that is `None`, the stored
/// values.
pub(super) fn form_page(
    app: &AppState,
    visitor: &Visitor,
    record: &ConnectionRecord,
    form: Option<&Form>,
) -> Result<FormPage, Problem> {
    let manifest = manifest(app, record)?;
    let stored = admin::connections::connection(app, record);
    let path = format!("/connections/{}", stored.id);
    let texts = Texts { form, stored: Some(&stored) };
    let mut page = FormPage {
        page: visitor.page(Section::Connections, format!("Edit {}", stored.name)),
        action: format!("{path}/edit"),
        summary: format!("Connector {} {}", stored.connector, manifest.version),
        button: "Save",
        errors: Vec::new(),
        has_errors: false,
        conflict: None,
        hidden: Vec::new(),
        fields: fields(&manifest.settings_schema, texts, &format!("{path}/choices?")),
        report: Some(ReportForm::new(texts, format!("{path}/preview"))),
        back: (path, stored.name.clone()),
    };
    // While a person corrects a form, its hidden fields keep the state that the person saw first.
    let seen = form.and_then(SeenState::from_form);
    let seen = seen.unwrap_or_else(|| SeenState::new(record.revision, page.all_fields()));
    page.hidden = seen.hidden_fields().to_vec();
    Ok(page)
}

/// The manifest of the version that the connection uses. If the connection cannot use any version,
/// the manifest of the newest version.
fn manifest(app: &AppState, record: &ConnectionRecord) -> Result<Manifest, Problem> {
    let plugins = &app.services.plugins;
    let version = plugins.connector_for(&record.connection);
    let version = version.or_else(|_| plugins.newest(&record.connection.connector));
    let version = version.map_err(|error| Problem::from(ConnectionError::from(error)))?;
    Ok(version.manifest().clone())
}

/// Stores the changes of the form, unless another person changed the connection meanwhile.
pub(in crate::console) async fn save(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Answer {
    let record = find_connection(&app, &visitor, &id)?;
    let seen = SeenState::from_form(&form).ok_or_else(|| {
        Problem::bad_request("the form has no revision of the connection: reload the page")
    })?;
    if seen.revision != record.revision {
        return conflict_page(&app, &visitor, &record, &seen, form);
    }
    let invalid_page = |errors: Vec<SettingError>| {
        let page = form_page(&app, &visitor, &record, Some(&form))?.with_errors(errors);
        render_invalid(&page)
    };
    let (id, stored) = (record.connection.id, &record.connection);
    let schema = manifest(&app, &record)?.settings_schema;
    let edit = match input::edit(&form, &schema, &stored.settings, &stored.report) {
        Ok(edit) => {
            let revision = IfMatch::revision(seen.revision);
            connection_edit(&visitor.account, stored, edit, false, revision)?
        }
        Err(errors) => return invalid_page(errors),
    };
    match app.services.connections.edit(id, edit).await {
        Ok(_) => Ok(flash::redirect_done(&format!("/connections/{id}"), "The changes are saved.")),
        Err(ConnectionError::Invalid(errors)) => invalid_page(errors),
        Err(ConnectionError::Changed(_)) => {
            let latest = find_connection(&app, &visitor, &id.to_string())?;
            conflict_page(&app, &visitor, &latest, &seen, form)
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows the form again, with the changes that another person has made since it was loaded.
fn conflict_page(
    app: &AppState,
    visitor: &Visitor,
    latest: &ConnectionRecord,
    seen: &SeenState,
    mut form: Form,
) -> Answer {
    let latest_page = form_page(app, visitor, latest, None)?;
    let changes = merge(&mut form, seen, latest_page.all_fields());
    for (name, value) in &latest_page.hidden {
        form.set(name, value);
    }
    let page = form_page(app, visitor, latest, Some(&form))?.with_conflict(changes);
    render_refused(&page, StatusCode::PRECONDITION_FAILED, OutcomeCode::PreconditionFailed)
}
