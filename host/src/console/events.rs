//! `/events`: what was received, filtered, the newest first; the first page updates itself.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};

use crate::api::{Event, EventList, EventQuery};
use crate::domain::{EventKind, OutcomeCode, StringEnum as _};
use crate::http::AppState;
use crate::http::admin::{Params, events};
use crate::http::problem::Problem;

use super::frame::Visitor;
use super::listing::{Filters, Given, Listing, connections, words};
use super::page::{Page, Section, render};
use super::parts::{Badge, Pager, Tone, When};

/// The periods to choose from, with their seconds.
const PERIODS: [(&str, &str, i64); 4] = [
    ("15m", "last 15 minutes", 15 * 60),
    ("1h", "last hour", 60 * 60),
    ("1d", "last day", 24 * 60 * 60),
    ("7d", "last 7 days", 7 * 24 * 60 * 60),
];

#[derive(Template)]
#[template(path = "console/events.html")]
struct Events {
    page: Page,
    rows: Vec<Row>,
    filters: Filters,
    pager: Pager,
    /// The address of this page, if it updates itself.
    live: Option<String>,
}

/// An event as a row of the table.
struct Row {
    it: Event,
    when: When,
    outcome: Badge,
}

pub(super) async fn show(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Query(given): Query<Given>,
) -> Result<Response, Problem> {
    let listing = Listing::new("/events", given);
    let query = query(&listing, visitor.now)?;
    let (account, filters) = (visitor.account.clone(), filters(&app, &visitor, &listing));
    let listed = events::list(State(app), Extension(account), Params(query)).await?;
    let Json(EventList { events, next }) = listed;
    let row = |it: Event| Row {
        when: When::new(it.received_at.0, visitor.now),
        outcome: outcome(&it),
        it,
    };
    render(&Events {
        page: visitor.page(Section::Events, "Events"),
        rows: events.into_iter().map(row).collect(),
        filters,
        pager: listing.pager(next),
        live: listing.is_first().then(|| listing.beginning()),
    })
}

fn query(listing: &Listing, now: Timestamp) -> Result<EventQuery, Problem> {
    let period = listing.get("period").and_then(|period| PERIODS.iter().find(|it| it.0 == period));
    Ok(EventQuery {
        since: period.and_then(|it| now.checked_sub(SignedDuration::from_secs(it.2)).ok()),
        until: None,
        connection: listing.get("connection").map(str::to_owned),
        kind: listing.word("kind")?,
        outcome: listing.word("outcome")?,
        search: listing.get("search").map(str::to_owned),
        cursor: listing.cursor()?,
        limit: None,
    })
}

fn filters(app: &AppState, visitor: &Visitor, listing: &Listing) -> Filters {
    let periods = PERIODS.map(|(word, text, _)| (word.to_owned(), text.to_owned())).to_vec();
    listing.filters(vec![
        listing.input("search", "Id, defect or words of an error", "search"),
        listing.choice("connection", "Connection", connections(app, visitor)),
        listing.choice("kind", "Kind", words::<EventKind>()),
        listing.choice("outcome", "Outcome", words::<OutcomeCode>()),
        listing.choice("period", "Time", periods),
    ])
}

/// How an event ended.
pub(super) fn outcome(event: &Event) -> Badge {
    let code = event.outcome.0;
    let failed = event.status.is_some_and(|status| status >= 400);
    let tone = match code {
        _ if code.is_success() => Tone::Ok,
        OutcomeCode::InDoubt | OutcomeCode::OutcomePending => Tone::Warn,
        _ if failed => Tone::Bad,
        _ => Tone::Muted,
    };
    Badge::new(tone, code.as_str().replace('-', " "))
}
