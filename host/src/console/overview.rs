//! The overview page: the tasks that need a person, the first steps on a new server, the events per
//! minute, and the health of the connections.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::domain::RecentEvents;
use crate::http::AppState;
use crate::http::problem::Problem;

use super::chart::Chart;
use super::connections::{ConnectionRow, connection_rows};
use super::frame::Visitor;
use super::page::{Layout, Section, render};
use super::parts::{Badge, Tone};

mod first_steps;
mod tasks;

/// A task that only a person can do, such as a decision about a defect in doubt.
#[derive(Debug)]
struct Task {
    badge: Badge,
    title: String,
    /// Why the task needs a person.
    reason: String,
    /// The address of the page where a person does the task.
    href: String,
    button_label: &'static str,
}

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    layout: Layout,
    first_steps: Vec<first_steps::FirstStep>,
    tasks: Vec<Task>,
    connection_rows: Vec<ConnectionRow>,
    /// `None` for an account that may see only some connections.
    chart: Option<Chart>,
    /// The stored requests of the last day that matched no connection; 0 if the account may see
    /// only some connections.
    refused_requests: u64,
}

pub(super) async fn show_overview(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    app.services.store.flush().await?;
    let is_limited = visitor.account.connections.is_some();
    let recent = if is_limited {
        RecentEvents::default()
    } else {
        app.services.store.recent_events(visitor.now).await?
    };
    let connection_rows = connection_rows(&app, &visitor);
    let page = OverviewPage {
        layout: visitor.layout(Section::Overview, "Overview"),
        first_steps: first_steps::list_first_steps(&app, &visitor),
        tasks: tasks::list_tasks(&app, &visitor, &recent).await?,
        chart: (!is_limited).then(|| Chart::new(&recent.minutes, visitor.now)),
        refused_requests: recent.no_connection,
        connection_rows,
    };
    render(&page)
}
