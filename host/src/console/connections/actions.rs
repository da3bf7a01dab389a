//! Pauses, resumes and deletes connections, replaces their webhook tokens, and records bodies. Only
//! resume and stop recording have no confirmation page.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::api::RotateToken;
use crate::console::confirm::ConfirmationPage;
use crate::console::flash;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Layout, Section, render};
use crate::console::parts::{Control, Field};
use crate::domain::RECORD_S_MAX;
use crate::http::AppState;
use crate::http::admin::Id;
use crate::http::admin::connections::webhook_url;
use crate::http::problem::Problem;

use super::find_connection;

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

/// The caller adds the effects and the fields.
fn confirm_page(
    app: &AppState,
    visitor: &Visitor,
    id: &str,
    (title, subpage, button_label): (&str, &str, &'static str),
) -> Result<ConfirmationPage, Problem> {
    let connection = find_connection(app, visitor, id)?.connection;
    let back = format!("/connections/{}", connection.id);
    Ok(ConfirmationPage {
        layout: visitor.layout(Section::Connections, format!("{title} {}", connection.name)),
        effects: Vec::new(),
        fields: Vec::new(),
        hidden_fields: Vec::new(),
        submit_href: format!("{back}/{subpage}"),
        button_label,
        button_class: "primary",
        back_href: back,
        back_label: connection.name,
    })
}

pub(in crate::console) async fn ask_to_pause_connection(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    let page = confirm_page(&app, &visitor, &id, ("Pause", "pause", "Pause"))?;
    let effects = vec![
        "Webhooks of this connection are answered with 503 until you resume it. People in Test \
         Manager see that it is paused."
            .to_owned(),
        "Runs in progress continue to their end, and their results are stored.".to_owned(),
    ];
    render(&ConfirmationPage { effects, ..page })
}

pub(in crate::console) async fn pause_connection(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    _: Form,
) -> Answer {
    set_paused(&app, &visitor, &id, true).await
}

pub(in crate::console) async fn resume_connection(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    _: Form,
) -> Answer {
    set_paused(&app, &visitor, &id, false).await
}

async fn set_paused(app: &AppState, visitor: &Visitor, id: &str, is_paused: bool) -> Answer {
    let id = find_connection(app, visitor, id)?.connection.id;
    app.services.connections.set_paused(id, is_paused).await?;
    let text =
        if is_paused { "The connection is paused." } else { "The connection is active again." };
    Ok(flash::redirect_with_success(&format!("/connections/{id}"), text))
}

pub(in crate::console) async fn ask_to_rotate_token(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    let page =
        confirm_page(&app, &visitor, &id, ("Rotate the token of", "rotate-token", "Rotate"))?;
    let periods =
        [("0", "not at all"), ("3600", "1 hour"), ("86400", "1 day"), ("604800", "7 days")];
    let options = periods.map(|(value, text)| (value.to_owned(), text.to_owned())).to_vec();
    let grace = Control::Select { value: RotateToken::GRACE_S_DEFAULT.to_string(), options };
    let effects = vec![
        "The connection gets a new webhook URL. It is shown once, on the next page.".to_owned(),
        "Enter the new URL in Test Manager before the old one stops working.".to_owned(),
    ];
    let fields = vec![Field::new("grace_s", "How long the old URL still works", grace)];
    render(&ConfirmationPage { effects, fields, ..page })
}

/// The page that shows a new webhook URL once.
#[derive(Template)]
#[template(path = "console/connections/issued.html")]
pub(super) struct WebhookUrlPage {
    pub(super) layout: Layout,
    pub(super) connection_href: String,
    pub(super) webhook_url: String,
    /// Whether the connection was just created.
    pub(super) is_new: bool,
}

pub(in crate::console) async fn rotate_token(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Answer {
    let id = find_connection(&app, &visitor, &id)?.connection.id;
    let grace_s = form.get("grace_s").parse();
    let grace_s =
        grace_s.map_err(|_| Problem::invalid_value("grace_s", "enter a number of seconds"))?;
    let issued = app.services.connections.rotate_token(id, grace_s).await?;
    render(&WebhookUrlPage {
        layout: visitor.layout(
            Section::Connections,
            format!("New webhook URL of {}", issued.record.connection.name),
        ),
        connection_href: format!("/connections/{id}"),
        webhook_url: webhook_url(&app, &issued),
        is_new: false,
    })
}

pub(in crate::console) async fn ask_to_record_bodies(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    let page = confirm_page(&app, &visitor, &id, ("Record bodies of", "record", "Record"))?;
    let periods =
        [("900", "15 minutes"), ("3600", "1 hour"), ("28800", "8 hours"), ("86400", "1 day")];
    let options = periods.map(|(value, text)| (value.to_owned(), text.to_owned())).to_vec();
    let effects = vec![
        "The bodies of requests and answers are stored with each event, so that it can be replayed \
         or downloaded as a test."
            .to_owned(),
        "Secrets are redacted. Everything else is stored, also texts of testers.".to_owned(),
        "Recordings are deleted with their events.".to_owned(),
    ];
    let duration = Control::Select { value: "3600".to_owned(), options };
    let fields = vec![Field::new("for_s", "For how long", duration)];
    render(&ConfirmationPage { effects, fields, ..page })
}

pub(in crate::console) async fn record_bodies(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Answer {
    let id = find_connection(&app, &visitor, &id)?.connection.id;
    let for_s = form.get("for_s").parse().ok().filter(|for_s| (1..=RECORD_S_MAX).contains(for_s));
    let out_of_range =
        || Problem::invalid_value("for_s", format!("enter 1 to {RECORD_S_MAX} seconds"));
    app.services.connections.record(id, Some(for_s.ok_or_else(out_of_range)?), false).await?;
    Ok(flash::redirect_with_success(
        &format!("/connections/{id}"),
        "Bodies are recorded from now on.",
    ))
}

pub(in crate::console) async fn stop_recording(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    _: Form,
) -> Answer {
    let id = find_connection(&app, &visitor, &id)?.connection.id;
    app.services.connections.record(id, None, false).await?;
    Ok(flash::redirect_with_success(
        &format!("/connections/{id}"),
        "Bodies are not recorded any more.",
    ))
}

pub(in crate::console) async fn ask_to_delete_connection(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    let page = confirm_page(&app, &visitor, &id, ("Delete", "delete", "Delete permanently"))?;
    let effects = vec![
        "The connection is deleted with its events, recordings, defects and cached counts. This \
         cannot be undone."
            .to_owned(),
        "Its webhook URL stops working at once.".to_owned(),
        "Nothing is deleted in the tracker. If a test fails again and another connection handles \
         the event, a second defect may be created."
            .to_owned(),
    ];
    let force = Field::new(
        "force",
        "Delete the connection even if creates are running or in doubt",
        Control::Check { checked: false },
    );
    render(&ConfirmationPage { effects, fields: vec![force], button_class: "danger", ..page })
}

pub(in crate::console) async fn delete_connection(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Answer {
    let connection = find_connection(&app, &visitor, &id)?.connection;
    app.services.connections.delete(connection.id, form.is_checked("force")).await?;
    Ok(flash::redirect_with_success(
        "/connections",
        &format!("The connection {} is deleted.", connection.name),
    ))
}
