//! Removes a connector's file, after a page that says what happens to the connections that use it.

use std::sync::Arc;

use axum::extract::State;

use crate::api::ForceQuery;
use crate::console::confirm::Confirm;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Section, render};
use crate::console::parts::{Control, Field};
use crate::http::admin::{Id, Params, connectors};
use crate::http::problem::Problem;

use super::{Answer, App, users};

pub(in crate::console) async fn ask_to_remove(
    State(app): App,
    visitor: Visitor,
    Id(name): Id,
) -> Answer {
    let known = app.services.plugins.list().into_iter().any(|info| info.name == name);
    if !known {
        return Err(Problem::no_such("connector", &name));
    }
    let users = users(&app, &visitor, &name);
    let mut effects = vec![
        "The file is removed from the plugins folder. Runs in progress finish.".to_owned(),
        "The versions that served are kept: `jackfield connectors rollback` brings the last one back."
            .to_owned(),
    ];
    let mut fields = Vec::new();
    if !users.is_empty() {
        let names: Vec<_> = users.into_iter().map(|(_, name)| name).collect();
        effects.insert(
            0,
            format!(
                "Webhooks of {} are answered 503 until the connector is back. These connections \
                 keep their settings and their defects.",
                names.join(", ")
            ),
        );
        let control = Control::Check { checked: false };
        fields.push(Field::new("force", "Remove it although connections use it", control));
    }
    let back = format!("/connectors/{name}");
    render(&Confirm {
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

pub(in crate::console) async fn remove(State(app): App, Id(name): Id, form: Form) -> Answer {
    let query = Params(ForceQuery { force: form.is_checked("force") });
    let _ = connectors::remove(State(Arc::clone(&app)), Id(name.clone()), query).await?;
    Ok(flash::done("/connectors", &format!("The connector {name} is removed.")))
}
