//! `/`: what needs a person first, then the health of the connections and the events per minute.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use crate::domain::RecentEvents;
use crate::http::AppState;
use crate::http::problem::Problem;

use super::chart::Chart;
use super::connections::{ConnectionRow, rows};
use super::frame::Visitor;
use super::page::{Page, Section, render};
use super::parts::{Badge, Tone};

mod first_steps;
mod needs;

/// Something that a person has to do.
#[derive(Debug)]
struct Need {
    badge: Badge,
    title: String,
    why: String,
    href: String,
    button: &'static str,
}

#[derive(Template)]
#[template(path = "console/overview.html")]
struct Overview {
    page: Page,
    first_steps: Vec<first_steps::FirstStep>,
    needs: Vec<Need>,
    rows: Vec<ConnectionRow>,
    /// Absent for an account that sees only some connections.
    chart: Option<Chart>,
    refused_senders: u64,
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
    let rows = rows(&app, &visitor);
    let page = Overview {
        page: visitor.page(Section::Overview, "Overview"),
        first_steps: first_steps::list(&app, &visitor),
        needs: needs::list(&app, &visitor, &recent).await?,
        chart: (!is_limited).then(|| Chart::new(&recent.minutes, visitor.now)),
        refused_senders: recent.no_connection,
        rows,
    };
    render(&page)
}
