//! The page that lists events, the newest first. The first page of the list updates itself.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};

use crate::api::{Event, EventList, EventQuery};
use crate::domain::{EventKind, OutcomeCode, StringEnum as _};
use crate::http::AppState;
use crate::http::admin::{Params, events};
use crate::http::problem::Problem;
use crate::json::Json;

use super::frame::Visitor;
use super::listing::{FilterForm, Listing, QueryValues, connection_options, enum_options};
use super::page::{Layout, Section, render};
use super::parts::{Badge, Pager, RelativeTime, Tone};

/// The value in the query, the text, and the length in seconds.
const PERIODS: [(&str, &str, i64); 4] = [
    ("15m", "last 15 minutes", 15 * 60),
    ("1h", "last hour", 60 * 60),
    ("1d", "last day", 24 * 60 * 60),
    ("7d", "last 7 days", 7 * 24 * 60 * 60),
];

#[derive(Template)]
#[template(path = "console/events.html")]
struct EventsPage {
    layout: Layout,
    rows: Vec<EventRow>,
    filters: FilterForm,
    pager: Pager,
    /// `None` if the page does not update itself.
    update_href: Option<String>,
}

struct EventRow {
    event: Event,
    received_at: RelativeTime,
    outcome: Badge,
}

pub(super) async fn list_events(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Query(query): Query<QueryValues>,
) -> Result<Response, Problem> {
    let listing = Listing::new("/events", query);
    let query = event_query(&listing, visitor.now)?;
    let (account, filters) = (visitor.account.clone(), event_filters(&app, &visitor, &listing));
    let Json(EventList { events, next }) =
        events::list(State(app), Extension(account), Params(query)).await?;
    let row = |event: Event| EventRow {
        received_at: RelativeTime::new(event.received_at.0, visitor.now),
        outcome: outcome_badge(&event),
        event,
    };
    render(&EventsPage {
        layout: visitor.layout(Section::Events, "Events"),
        rows: events.into_iter().map(row).collect(),
        filters,
        pager: listing.pager(next),
        update_href: listing.is_first_page().then(|| listing.first_page_href()),
    })
}

fn event_query(listing: &Listing, now: Timestamp) -> Result<EventQuery, Problem> {
    let period = listing.get("period").and_then(|period| PERIODS.iter().find(|it| it.0 == period));
    Ok(EventQuery {
        since: period.and_then(|it| now.checked_sub(SignedDuration::from_secs(it.2)).ok()),
        until: None,
        connection: listing.get("connection").map(str::to_owned),
        kind: listing.parse_enum_filter("kind")?,
        outcome: listing.parse_enum_filter("outcome")?,
        search: listing.get("search").map(str::to_owned),
        cursor: listing.cursor()?,
        limit: None,
    })
}

fn event_filters(app: &AppState, visitor: &Visitor, listing: &Listing) -> FilterForm {
    let periods = PERIODS.map(|(value, text, _)| (value.to_owned(), text.to_owned())).to_vec();
    listing.filter_form(vec![
        listing.text_filter("search", "Id, defect or words of an error", "search"),
        listing.select_filter("connection", "Connection", connection_options(app, visitor)),
        listing.select_filter("kind", "Kind", enum_options::<EventKind>()),
        listing.select_filter("outcome", "Outcome", enum_options::<OutcomeCode>()),
        listing.select_filter("period", "Time", periods),
    ])
}

pub(super) fn outcome_badge(event: &Event) -> Badge {
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
