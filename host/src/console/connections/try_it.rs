//! The page that tries a connection step by step.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::connections::TryReport;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Layout, Section, render};
use crate::domain::{Role, TryStep, TryStepResult, printable};
use crate::http::AppState;
use crate::http::admin::Id;
use crate::http::problem::Problem;

use super::find_connection;

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "console/connections/try.html")]
struct TryPage {
    layout: Layout,
    /// The path of the connection's page.
    connection_path: String,
    connection_name: String,
    /// `None` before the try.
    result: Option<TryResult>,
    /// Whether the account may edit the connection.
    may_edit: bool,
}

struct TryResult {
    steps: Vec<StepRow>,
    /// The line that the connector's `check` returned; `None` if a step of the try failed.
    success_text: Option<String>,
}

struct StepRow {
    title: String,
    /// A text about the result of a step that succeeded.
    note: Option<String>,
    error: Option<String>,
    /// The setting to change, if the error names a setting.
    setting: Option<String>,
    /// What a person must do if the step fails.
    fix: &'static str,
}

pub(in crate::console) async fn show_try_page(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
) -> Answer {
    try_page(&app, &visitor, &id, None)
}

pub(in crate::console) async fn try_connection(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    _: Form,
) -> Answer {
    let connection = find_connection(&app, &visitor, &id)?.connection.id;
    let TryReport { steps, reached } =
        app.services.connections.try_connection(connection, None).await?;
    let has_failed = steps.iter().any(|step| step.error.is_some());
    let success_text = reached.as_deref().filter(|_| !has_failed).map(printable);
    let result = TryResult { steps: steps.into_iter().map(step_row).collect(), success_text };
    try_page(&app, &visitor, &id, Some(result))
}

fn try_page(app: &AppState, visitor: &Visitor, id: &str, result: Option<TryResult>) -> Answer {
    let connection = find_connection(app, visitor, id)?.connection;
    render(&TryPage {
        layout: visitor.layout(Section::Connections, format!("Try {}", connection.name)),
        connection_path: format!("/connections/{}", connection.id),
        connection_name: connection.name,
        result,
        may_edit: visitor.account.may(Role::Admin),
    })
}

fn step_row(result: TryStepResult) -> StepRow {
    let (title, fix) = title_and_fix(result.step);
    let origin = result.origin.map(|it| format!(": {it}")).unwrap_or_default();
    StepRow {
        title: format!("{title}{origin}"),
        note: result.note.as_deref().map(printable),
        error: result.error.as_deref().map(printable),
        setting: result.setting,
        fix,
    }
}

fn title_and_fix(step: TryStep) -> (&'static str, &'static str) {
    match step {
        TryStep::Dns => (
            "Find the address of the host",
            "Check the address in the settings, and whether the server's DNS can resolve the host name.",
        ),
        TryStep::Connect => (
            "Connect",
            "Check the port, firewalls and the proxy between this server and the tracker.",
        ),
        TryStep::Tls => (
            "Set up TLS encryption",
            "If your company's own certificate authority signed the certificate, add its root certificate to \
             `extra_ca_file`.",
        ),
        TryStep::Credentials => (
            "Use the credentials",
            "Enter the secret again, or give the user of the secret the necessary rights in the tracker.",
        ),
        TryStep::Check => (
            "Check the names in the settings",
            "Change the setting that the reason names, or create the missing object in the tracker.",
        ),
        TryStep::Token => (
            "Get a token for Test Manager",
            "Check the token address, the client id and the client secret.",
        ),
        TryStep::Scope => {
            ("Get every scope", "Add the scopes to the external application in UiPath.")
        }
        TryStep::TestManagerProject => (
            "See a project in Test Manager",
            "Give the external application access to the project.",
        ),
        TryStep::TestManagerLog => (
            "See the log of a failed test",
            "Give the external application access to the project of the test.",
        ),
    }
}
