//! Removes the file of a connector, after a confirmation page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::ForceQuery;
use crate::console::confirm::ConfirmationPage;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Section, render, render_refused};
use crate::console::parts::{Control, Field};
use crate::domain::OutcomeCode;
use crate::http::AppState;
use crate::http::admin::{Id, Params, connectors};
use crate::http::problem::Problem;

use super::{Answer, App, connections_of};

pub(in crate::console) async fn ask_to_remove_connector(
    State(app): App,
    visitor: Visitor,
    Id(name): Id,
) -> Answer {
    render(&confirm_page(&app, &visitor, name, None)?)
}

/// If connections use the connector and the person did not tick the box, shows the confirmation
/// page again.
pub(in crate::console) async fn remove_connector(
    State(app): App,
    visitor: Visitor,
    Id(name): Id,
    form: Form,
) -> Answer {
    let force = form.is_checked("force");
    let connections = connections_of(&app, &visitor, &name);
    if !force && !connections.is_empty() {
        let names: Vec<_> = connections.into_iter().map(|(_, name)| name).collect();
        let error = format!(
            "The connector was not removed, because it is used by {}. Delete these connections \
             first, or tick this box to remove it anyway.",
            names.join(", ")
        );
        let page = confirm_page(&app, &visitor, name, Some(error))?;
        return render_refused(&page, StatusCode::CONFLICT, OutcomeCode::Conflict);
    }
    let query = Params(ForceQuery { force });
    let _ = connectors::remove(State(Arc::clone(&app)), Id(name.clone()), query).await?;
    Ok(flash::redirect_with_success("/connectors", &format!("The connector {name} is removed.")))
}

/// `error` is the reason why the file was not removed.
fn confirm_page(
    app: &AppState,
    visitor: &Visitor,
    name: String,
    error: Option<String>,
) -> Result<ConfirmationPage, Problem> {
    let exists = name.parse().is_ok_and(|name| app.services.plugins.has(&name));
    if !exists {
        return Err(Problem::no_such("connector", &name));
    }
    let connections = connections_of(app, visitor, &name);
    let names: Vec<_> = connections.into_iter().map(|(_, name)| name).collect();
    let mut effects = vec![
        "The file is removed from the plugins folder. Runs in progress continue to their end."
            .to_owned(),
        format!(
            "Earlier versions are kept. To restore the last one, run: jackfield connectors \
             rollback {name}"
        ),
    ];
    let mut fields = Vec::new();
    if !names.is_empty() {
        effects.insert(
            0,
            format!(
                "Webhooks of {} are answered 503 until the connector is in the folder again. These \
                 connections keep their settings and their defects.",
                names.join(", ")
            ),
        );
        let control = Control::Check { checked: false };
        let field = Field::new("force", "Remove it although connections use it", control);
        fields.push(Field { error, ..field });
    }
    let back = format!("/connectors/{name}");
    Ok(ConfirmationPage {
        layout: visitor.layout(Section::Connectors, format!("Remove {name}")),
        effects,
        fields,
        hidden_fields: Vec::new(),
        submit_href: format!("{back}/remove"),
        button_label: "Remove",
        button_class: "danger",
        back_href: back,
        back_label: name,
    })
}
