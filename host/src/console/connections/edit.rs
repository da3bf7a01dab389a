//! `/connections/{id}/edit`: the form of a connection with its present values.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::connections::ConnectionError;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Section, render, render_again, render_refused};
use crate::domain::{ConnectionRecord, OutcomeCode};
use crate::http::admin::Id;
use crate::http::admin::connections::connection_edit;
use crate::http::admin::etag::IfMatch;
use crate::http::problem::Problem;
use crate::http::{AppState, admin};
use crate::manifest::{Manifest, SettingError};

use super::conflict::{Seen, merge};
use super::form::{FormPage, Texts, fields};
use super::report::ReportForm;
use super::{found, input};

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

pub(in crate::console) async fn show(State(app): App, visitor: Visitor, Id(id): Id) -> Answer {
    let record = found(&app, &visitor, &id)?;
    render(&form_page(&app, &visitor, &record, None)?)
}

/// The form with what a person entered, or with what is stored.
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
    // While a person corrects a form, it stays one of the state that they saw first.
    let seen = form.and_then(Seen::read);
    let seen = seen.unwrap_or_else(|| Seen::of(record.revision, page.all_fields()));
    page.hidden = seen.hidden().to_vec();
    Ok(page)
}

/// The manifest of the version that the connection uses; if it can use none, of the newest.
fn manifest(app: &AppState, record: &ConnectionRecord) -> Result<Manifest, Problem> {
    let plugins = &app.services.plugins;
    let used = plugins.connector_for(&record.connection);
    let used = used.or_else(|_| plugins.newest(&record.connection.connector));
    let used = used.map_err(|error| Problem::from(ConnectionError::from(error)))?;
    Ok(used.manifest().clone())
}

/// Stores what the form changes, unless another person was faster.
pub(in crate::console) async fn save(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Answer {
    let record = found(&app, &visitor, &id)?;
    let seen = Seen::read(&form).ok_or_else(|| {
        Problem::bad_request("the form does not say which state it edits: load its page again")
    })?;
    if seen.revision != record.revision {
        return conflict(&app, &visitor, &record, &seen, form);
    }
    let again = |errors: Vec<SettingError>| {
        let page = form_page(&app, &visitor, &record, Some(&form))?.with_errors(errors);
        render_again(&page)
    };
    let (id, stored) = (record.connection.id, &record.connection);
    let schema = manifest(&app, &record)?.settings_schema;
    let edit = match input::edit(&form, &schema, &stored.settings, &stored.report) {
        Ok(edit) => {
            let revision = IfMatch::revision(seen.revision);
            connection_edit(&visitor.account, stored, edit, false, revision)?
        }
        Err(errors) => return again(errors),
    };
    match app.services.connections.edit(id, edit).await {
        Ok(_) => Ok(flash::done(&format!("/connections/{id}"), "The changes are saved.")),
        Err(ConnectionError::Invalid(errors)) => again(errors),
        Err(ConnectionError::Changed(_)) => {
            let latest = found(&app, &visitor, &id.to_string())?;
            conflict(&app, &visitor, &latest, &seen, form)
        }
        Err(error) => Err(error.into()),
    }
}

/// The form again, with what another person has changed since it was loaded.
fn conflict(
    app: &AppState,
    visitor: &Visitor,
    latest: &ConnectionRecord,
    seen: &Seen,
    mut form: Form,
) -> Answer {
    let now = form_page(app, visitor, latest, None)?;
    let changes = merge(&mut form, seen, now.all_fields());
    for (name, value) in &now.hidden {
        form.set(name, value);
    }
    let page = form_page(app, visitor, latest, Some(&form))?.with_conflict(changes);
    render_refused(&page, StatusCode::PRECONDITION_FAILED, OutcomeCode::PreconditionFailed)
}
