//! Rolls a connector back to an earlier version, after a confirmation page.

use std::sync::Arc;

use axum::extract::{Path, State};

use crate::api::RollbackConnector;
use crate::console::confirm::ConfirmationPage;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Section, render};
use crate::http::admin::{Body, Id, connectors};

use super::{Answer, App, in_use_now};

/// The name of the connector, and the SHA-256 of the version.
type VersionPath = Path<(String, String)>;

pub(in crate::console) async fn ask_to_roll_back_connector(
    visitor: Visitor,
    Path((name, sha256)): VersionPath,
) -> Answer {
    let back = format!("/connectors/{name}");
    render(&ConfirmationPage {
        layout: visitor.layout(Section::Connectors, format!("Roll {name} back")),
        effects: vec![
            format!("The file in the plugins folder is replaced by the version {sha256}."),
            "A connection whose grants suffice for this version uses it from its next event on. \
             Runs in progress finish with the current version."
                .to_owned(),
            "The current version is kept, so you can roll back to it later.".to_owned(),
        ],
        fields: Vec::new(),
        hidden_fields: Vec::new(),
        submit_href: format!("{back}/rollback/{sha256}"),
        button_label: "Roll back",
        button_class: "primary",
        back_href: back,
        back_label: name,
    })
}

pub(in crate::console) async fn roll_back_connector(
    State(app): App,
    Path((name, sha256)): VersionPath,
    _: Form,
) -> Answer {
    let body = Body(RollbackConnector { to: Some(sha256) });
    let _ = connectors::rollback(State(Arc::clone(&app)), Id(name.clone()), body).await?;
    let text = format!("The earlier version {}.", in_use_now(&app, &name));
    Ok(flash::redirect_with_success(&format!("/connectors/{name}"), &text))
}
