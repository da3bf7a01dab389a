//! `/connections/{id}/try`: tests a connection step by step, with the reason and the fix.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::connections::TryReport;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::{Page, Section, render};
use crate::domain::{Role, TryStep, TryStepResult, printable};
use crate::http::AppState;
use crate::http::admin::Id;
use crate::http::problem::Problem;

use super::found;

type App = State<Arc<AppState>>;
type Answer = Result<Response, Problem>;

#[derive(Template)]
#[template(path = "console/connections/try.html")]
struct Try {
    page: Page,
    path: String,
    name: String,
    /// Absent before the test runs.
    result: Option<Tried>,
    may_edit: bool,
}

/// The result of a test.
struct Tried {
    steps: Vec<Step>,
    reached: Option<String>,
}

/// A step as people read it.
struct Step {
    title: String,
    note: Option<String>,
    error: Option<String>,
    /// The field of the setting to change.
    field: Option<String>,
    fix: &'static str,
}

pub(in crate::console) async fn show(State(app): App, visitor: Visitor, Id(id): Id) -> Answer {
    page(&app, &visitor, &id, None)
}

pub(in crate::console) async fn run(
    State(app): App,
    visitor: Visitor,
    Id(id): Id,
    _: Form,
) -> Answer {
    let connection = found(&app, &visitor, &id)?.connection.id;
    let TryReport { steps, reached } =
        app.services.connections.try_connection(connection, None).await?;
    let reached = reached.as_deref().map(printable);
    let tried = Tried { steps: steps.into_iter().map(step).collect(), reached };
    page(&app, &visitor, &id, Some(tried))
}

fn page(app: &AppState, visitor: &Visitor, id: &str, result: Option<Tried>) -> Answer {
    let connection = found(app, visitor, id)?.connection;
    render(&Try {
        page: visitor.page(Section::Connections, format!("Try {}", connection.name)),
        path: format!("/connections/{}", connection.id),
        name: connection.name,
        result,
        may_edit: visitor.account.may(Role::Admin),
    })
}

fn step(result: TryStepResult) -> Step {
    let (title, fix) = words(result.step);
    let origin = result.origin.map(|it| format!(": {it}")).unwrap_or_default();
    Step {
        title: format!("{title}{origin}"),
        note: result.note.as_deref().map(printable),
        error: result.error.as_deref().map(printable),
        field: result.setting,
        fix,
    }
}

/// The name of a step, and what to do if it fails.
fn words(step: TryStep) -> (&'static str, &'static str) {
    match step {
        TryStep::Dns => (
            "Find the address of the host",
            "Check the address in the settings, and that the server's DNS knows the host.",
        ),
        TryStep::Connect => (
            "Connect",
            "Check the port, firewalls and the proxy between this server and the tracker.",
        ),
        TryStep::Tls => (
            "Agree on encryption",
            "If a company authority signed the certificate, add it to `extra_ca_file`.",
        ),
        TryStep::Credentials => (
            "Use the credentials",
            "Enter the secret again, or give its user the rights in the tracker.",
        ),
        TryStep::Check => (
            "Find what the settings name",
            "Change the setting that the reason names, or create it in the tracker.",
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
