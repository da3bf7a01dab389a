//! The page with the form that edits a connection.

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

use super::edit_conflict::{SeenState, merge_changes};
use super::form::{FormPage, TextSource, form_fields};
use super::report::ReportForm;
use super::{find_connection, input};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

pub(in crate::console) async fn show_edit_form(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    let record = find_connection(&app, &visitor, &id)?;
    render(&form_page(&app, &visitor, &record, None)?)
}

/// The fields contain the texts of `form` or, without it, the stored values.
pub(super) fn form_page(
    app: &AppState,
    visitor: &Visitor,
    record: &ConnectionRecord,
    form: Option<&Form>,
) -> Result<FormPage, Problem> {
    let manifest = used_manifest(app, record)?;
    let stored = admin::connections::to_api_connection(app, record);
    let path = format!("/connections/{}", stored.id);
    let texts = TextSource { sent_form: form, stored_connection: Some(&stored) };
    let mut page = FormPage {
        layout: visitor.layout(Section::Connections, format!("Edit {}", stored.name)),
        submit_href: format!("{path}/edit"),
        summary: format!("Connector {} {}", stored.connector, manifest.version),
        button_label: "Save",
        errors: Vec::new(),
        has_errors: false,
        conflict: None,
        hidden_fields: Vec::new(),
        fields: form_fields(&manifest.settings_schema, texts, &format!("{path}/choices?")),
        report_form: Some(ReportForm::new(texts, format!("{path}/preview"))),
        back_link: (path, stored.name.clone()),
    };
    // The hidden fields of a sent form contain the state that the person saw.
    let seen = form.and_then(SeenState::from_form);
    let seen = seen.unwrap_or_else(|| SeenState::new(record.revision, page.all_fields()));
    page.hidden_fields = seen.hidden_fields().to_vec();
    Ok(page)
}

/// Returns the manifest of the version that the connection uses, or of the newest version if the
/// connection cannot use any.
fn used_manifest(app: &AppState, record: &ConnectionRecord) -> Result<Manifest, Problem> {
    let plugins = &app.services.plugins;
    let version = plugins.connector_for(&record.connection);
    let version = version.or_else(|_| plugins.newest(&record.connection.connector));
    let version = version.map_err(|error| Problem::from(ConnectionError::from(error)))?;
    Ok(version.manifest().clone())
}

/// Stores nothing if another person changed the connection after the form was loaded.
pub(in crate::console) async fn save_changes(
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
    let schema = used_manifest(&app, &record)?.settings_schema;
    let edit = match input::read_edit(&form, &schema, &stored.settings, &stored.report) {
        Ok(edit) => {
            let revision = IfMatch::only_revision(seen.revision);
            connection_edit(&visitor.account, stored, edit, false, revision)?
        }
        Err(errors) => return invalid_page(errors),
    };
    match app.services.connections.edit(id, edit).await {
        Ok(_) => Ok(flash::redirect_with_success(
            &format!("/connections/{id}"),
            "The changes are saved.",
        )),
        Err(ConnectionError::Invalid(errors)) => invalid_page(errors),
        Err(ConnectionError::Changed(_)) => {
            let latest = find_connection(&app, &visitor, &id.to_string())?;
            conflict_page(&app, &visitor, &latest, &seen, form)
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows the form again, with the changes of the other person. `latest` is the present state of the
/// connection.
fn conflict_page(
    app: &AppState,
    visitor: &Visitor,
    latest: &ConnectionRecord,
    seen: &SeenState,
    mut form: Form,
) -> Answer {
    let latest_page = form_page(app, visitor, latest, None)?;
    let changes = merge_changes(&mut form, seen, latest_page.all_fields());
    for (name, value) in &latest_page.hidden_fields {
        form.set(name, value);
    }
    let page = form_page(app, visitor, latest, Some(&form))?.with_conflict(changes);
    render_refused(&page, StatusCode::PRECONDITION_FAILED, OutcomeCode::PreconditionFailed)
}
