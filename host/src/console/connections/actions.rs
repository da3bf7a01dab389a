//! The changes of a connection that are one button each: pause, rotate the token, record, delete.
//! Each dangerous one is a page that says what will happen.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::api::RotateToken;
use crate::console::confirm::Confirm;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Page, Section, render};
use crate::console::parts::{Control, Field};
use crate::domain::RECORD_S_MAX;
use crate::http::AppState;
use crate::http::admin::Id;
use crate::http::admin::connections::webhook_url;
use crate::http::problem::Problem;

use super::found;

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

/// A page that asks before a change of a connection.
fn confirm(
    app: &AppState,
    visitor: &Visitor,
    id: &str,
    (title, path, button): (&str, &str, &'static str),
) -> Result<Confirm, Problem> {
    let connection = found(app, visitor, id)?.connection;
    let back = format!("/connections/{}", connection.id);
    Ok(Confirm {
        page: visitor.page(Section::Connections, format!("{title} {}", connection.name)),
        effects: Vec::new(),
        fields: Vec::new(),
        hidden: Vec::new(),
        action: format!("{back}/{path}"),
        button,
        tone: "primary",
        back,
        back_label: connection.name,
    })
}

pub(in crate::console) async fn ask_to_pause(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    let page = confirm(&app, &visitor, &id, ("Pause", "pause", "Pause"))?;
    let effects = vec![
        "Webhooks of this connection are answered with 503 until you resume it; people in Test \
         Manager see that it is paused."
            .to_owned(),
        "Runs in progress finish. Nothing is lost.".to_owned(),
    ];
    render(&Confirm { effects, ..page })
}

pub(in crate::console) async fn pause(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    _: Form,
) -> Answer {
    set_paused(&app, &visitor, &id, true).await
}

pub(in crate::console) async fn resume(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    _: Form,
) -> Answer {
    set_paused(&app, &visitor, &id, false).await
}

async fn set_paused(app: &AppState, visitor: &Visitor, id: &str, paused: bool) -> Answer {
    let id = found(app, visitor, id)?.connection.id;
    app.services.connections.set_paused(id, paused).await?;
    let text = if paused { "The connection is paused." } else { "The connection is active again." };
    Ok(flash::done(&format!("/connections/{id}"), text))
}

pub(in crate::console) async fn ask_to_rotate(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    let page = confirm(&app, &visitor, &id, ("Rotate the token of", "rotate-token", "Rotate"))?;
    let choices =
        [("0", "not at all"), ("3600", "1 hour"), ("86400", "1 day"), ("604800", "7 days")];
    let options = choices.map(|(value, text)| (value.to_owned(), text.to_owned())).to_vec();
    let grace = Control::Select { value: RotateToken::GRACE_S_DEFAULT.to_string(), options };
    let effects = vec![
        "The connection gets a new webhook URL. It is shown once, on the next page.".to_owned(),
        "Enter the new URL in Test Manager before the old one stops working.".to_owned(),
    ];
    let fields = vec![Field::new("grace_s", "How long the old URL still works", grace)];
    render(&Confirm { effects, fields, ..page })
}

#[derive(Template)]
#[template(path = "console/connections/issued.html")]
pub(super) struct Issued {
    pub(super) page: Page,
    pub(super) back: String,
    pub(super) url: String,
    /// Whether the connection was just created.
    pub(super) is_new: bool,
}

pub(in crate::console) async fn rotate(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Answer {
    let id = found(&app, &visitor, &id)?.connection.id;
    let grace_s = form.get("grace_s").parse();
    let grace_s =
        grace_s.map_err(|_| Problem::invalid_value("grace_s", "give a number of seconds"))?;
    let issued = app.services.connections.rotate_token(id, grace_s).await?;
    render(&Issued {
        page: visitor.page(
            Section::Connections,
            format!("New webhook URL of {}", issued.record.connection.name),
        ),
        back: format!("/connections/{id}"),
        url: webhook_url(&app, &issued),
        is_new: false,
    })
}

pub(in crate::console) async fn ask_to_record(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    let page = confirm(&app, &visitor, &id, ("Record bodies of", "record", "Record"))?;
    let choices =
        [("900", "15 minutes"), ("3600", "1 hour"), ("28800", "8 hours"), ("86400", "1 day")];
    let options = choices.map(|(value, text)| (value.to_owned(), text.to_owned())).to_vec();
    let effects = vec![
        "The bodies of requests and answers are stored with each event, so that it can be replayed \
         or downloaded as a test."
            .to_owned(),
        "Secrets are redacted; everything else that testers wrote is stored.".to_owned(),
        "Recordings are deleted with their events.".to_owned(),
    ];
    let length = Control::Select { value: "3600".to_owned(), options };
    let fields = vec![Field::new("for_s", "For how long", length)];
    render(&Confirm { effects, fields, ..page })
}

pub(in crate::console) async fn record(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Answer {
    let id = found(&app, &visitor, &id)?.connection.id;
    let for_s = form.get("for_s").parse().ok().filter(|for_s| (1..=RECORD_S_MAX).contains(for_s));
    let why = || Problem::invalid_value("for_s", format!("give 1 to {RECORD_S_MAX} seconds"));
    app.services.connections.record(id, Some(for_s.ok_or_else(why)?), false).await?;
    Ok(flash::done(&format!("/connections/{id}"), "Bodies are recorded from now on."))
}

pub(in crate::console) async fn stop_recording(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    _: Form,
) -> Answer {
    let id = found(&app, &visitor, &id)?.connection.id;
    app.services.connections.record(id, None, false).await?;
    Ok(flash::done(&format!("/connections/{id}"), "Bodies are not recorded any more."))
}

pub(in crate::console) async fn ask_to_delete(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    let page = confirm(&app, &visitor, &id, ("Delete", "delete", "Delete permanently"))?;
    let effects = vec![
        "The connection is deleted with its events, recordings, defects and cached counts. This \
         cannot be undone."
            .to_owned(),
        "Its webhook URL stops working at once.".to_owned(),
        "Nothing is deleted in the tracker. If a test fails again and another connection handles \
         it, a second defect may be created."
            .to_owned(),
    ];
    let force = Field::new(
        "force",
        "Delete also while creates run or are in doubt",
        Control::Check { checked: false },
    );
    render(&Confirm { effects, fields: vec![force], tone: "danger", ..page })
}

pub(in crate::console) async fn delete(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Answer {
    let connection = found(&app, &visitor, &id)?.connection;
    app.services.connections.delete(connection.id, form.is_checked("force")).await?;
    Ok(flash::done("/connections", &format!("The connection {} is deleted.", connection.name)))
}
