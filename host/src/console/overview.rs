//! `/`: shows the tasks that need a person first, then the events per minute and the health of the
//! connections.

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
use super::page::{Page, Section, render};
use super::parts::{Badge, Tone};

mod first_steps;
mod tasks;

/// A task that only a person can do, such as a decision about a defect in doubt.
#[derive(Debug)]
struct Task {
    badge: Badge,
    title: String,
    reason: String,
    href: String,
    button: &'static str,
}

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    page: Page,
    first_steps: Vec<first_steps::FirstStep>,
    tasks: Vec<Task>,
    rows: Vec<ConnectionRow>,
    /// `None` for an account that may see only some connections.
    chart: Option<Chart>,
    /// Number of requests of the last day that had no valid webhook URL.
    refused_requests: u64,
}

pub(super) async fn show(
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
    let rows = connection_rows(&app, &visitor);
    let page = OverviewPage {
        page: visitor.page(Section::Overview, "Overview"),
        first_steps: first_steps::list(&app, &visitor),
        tasks: tasks::list(&app, &visitor, &recent).await?,
        chart: (!is_limited).then(|| Chart::new(&recent.minutes, visitor.now)),
        refused_requests: recent.no_connection,
        rows,
    };
    render(&page)
}
