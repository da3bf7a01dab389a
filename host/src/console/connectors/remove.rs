//! Removes a connector's file, after a page that says what happens to the connections that use it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::ForceQuery;
use crate::console::confirm::Confirm;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Section, render, render_refused};
use crate::console::parts::{Control, Field};
use crate::domain::OutcomeCode;
use crate::http::AppState;
use crate::http::admin::{Id, Params, connectors};
use crate::http::problem::Problem;

use super::{Answer, App, users};

pub(in crate::console) async fn ask_to_remove(
    State(app): App,
    visitor: Visitor,
    Id(name): Id,
) -> Answer {
    render(&question(&app, &visitor, name, None)?)
}

/// Removes the file. If connections use the connector and the box that confirms this is not ticked,
/// asks again.
pub(in crate::console) async fn remove(
    State(app): App,
    visitor: Visitor,
    Id(name): Id,
    form: Form,
) -> Answer {
    let force = form.is_checked("force");
    let users = users(&app, &visitor, &name);
    if !force && !users.is_empty() {
        let names: Vec<_> = users.into_iter().map(|(_, name)| name).collect();
        let error = format!(
            "It is not removed, because it is used by {}. Delete these connections first, or tick \
             this box to remove it anyway.",
            names.join(", ")
        );
        let asked_again = question(&app, &visitor, name, Some(error))?;
        return render_refused(&asked_again, StatusCode::CONFLICT, OutcomeCode::Conflict);
    }
    let query = Params(ForceQuery { force });
    let _ = connectors::remove(State(Arc::clone(&app)), Id(name.clone()), query).await?;
    Ok(flash::done("/connectors", &format!("The connector {name} is removed.")))
}

/// The page that says what will happen. `error` says why the file was not removed.
fn question(
    app: &AppState,
    visitor: &Visitor,
    name: String,
    error: Option<String>,
) -> Result<Confirm, Problem> {
    let is_known = name.parse().is_ok_and(|name| app.services.plugins.has(&name));
    if !is_known {
        return Err(Problem::no_such("connector", &name));
    }
    let names: Vec<_> = users(app, visitor, &name).into_iter().map(|(_, name)| name).collect();
    let mut effects = vec![
        "The file is removed from the plugins folder. Runs in progress finish.".to_owned(),
        format!(
            "The versions that served are kept. To bring the last one back, run: jackfield connectors \
             rollback {name}"
        ),
    ];
    let mut fields = Vec::new();
    if !names.is_empty() {
        effects.insert(
            0,
            format!(
                "Webhooks of {} are answered 503 until the connector is back. These connections \
                 keep their settings and their defects.",
                names.join(", ")
            ),
        );
        let control = Control::Check { checked: false };
        let field = Field::new("force", "Remove it although connections use it", control);
        fields.push(Field { error, ..field });
    }
    let back = format!("/connectors/{name}");
    Ok(Confirm {
        page: visitor.page(Section::Connectors, format!("Remove {name}")),
        effects,
        fields,
        hidden: Vec::new(),
        action: format!("{back}/remove"),
        button: "Remove",
        tone: "danger",
        back,
        back_label: name,
    })
}
