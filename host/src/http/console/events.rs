//! `/events`: what was received, filtered, the newest first; the first page updates itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::api::{EnumString, Event, EventList, EventQuery};
use crate::domain::{EventKind, OutcomeCode, StringEnum};
use crate::http::AppState;
use crate::http::admin::{Params, events};
use crate::http::problem::Problem;

use super::frame::Visitor;
use super::page::{Page, Section, render};
use super::parts::{Badge, Control, Field, Pager, Tone, When};

/// The periods to choose from, with their seconds.
const PERIODS: [(&str, &str, i64); 4] = [
    ("15m", "last 15 minutes", 15 * 60),
    ("1h", "last hour", 60 * 60),
    ("1d", "last day", 24 * 60 * 60),
    ("7d", "last 7 days", 7 * 24 * 60 * 60),
];

/// The query of the page: empty values count as absent, because forms send them.
type Given = BTreeMap<String, String>;

#[derive(Template)]
#[template(path = "console/events.html")]
struct Events {
    page: Page,
    rows: Vec<Row>,
    filters: Vec<Field>,
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

pub(in crate::http) async fn show(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Query(mut given): Query<Given>,
) -> Result<Response, Problem> {
    given.retain(|_, value| !value.trim().is_empty());
    let query = query(&given, visitor.now)?;
    let (account, filters) = (visitor.account.clone(), filters(&app, &visitor, &given));
    let listed = events::list(State(app), Extension(account), Params(query)).await?;
    let Json(EventList { events, next }) = listed;
    let row = |it: Event| Row {
        when: When::new(it.received_at.0, visitor.now),
        outcome: outcome(&it),
        it,
    };
    let is_first = given.remove("cursor").is_none();
    let here = address("/events", &given);
    let next = next.map(|cursor| {
        given.insert("cursor".to_owned(), cursor.to_string());
        address("/events", &given)
    });
    render(&Events {
        page: visitor.page(Section::Events, "Events"),
        rows: events.into_iter().map(row).collect(),
        filters,
        pager: Pager { first: (!is_first).then(|| here.clone()), next },
        live: is_first.then_some(here),
    })
}

fn query(given: &Given, now: Timestamp) -> Result<EventQuery, Problem> {
    let period = given.get("period").and_then(|period| PERIODS.iter().find(|it| it.0 == period));
    let cursor = given.get("cursor").map(|cursor| cursor.parse());
    let cursor = cursor.transpose().map_err(|_| Problem::bad_request("`cursor` is not an id"))?;
    Ok(EventQuery {
        since: period.and_then(|it| now.checked_sub(SignedDuration::from_secs(it.2)).ok()),
        until: None,
        connection: given.get("connection").cloned(),
        kind: word(given, "kind")?,
        outcome: word(given, "outcome")?,
        cursor,
        limit: None,
    })
}

/// The value of a filter that has a fixed set of words.
pub(super) fn word<T: StringEnum>(
    given: &Given,
    name: &str,
) -> Result<Option<EnumString<T>>, Problem> {
    let read = given.get(name).map(|word| word.parse());
    read.transpose().map_err(|error| Problem::bad_request(format!("`{name}`: {error}")))
}

/// A page with these values as its query.
pub(super) fn address(path: &str, given: &Given) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = given.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn filters(app: &AppState, visitor: &Visitor, given: &Given) -> Vec<Field> {
    let periods = PERIODS.map(|(word, text, _)| (word.to_owned(), text.to_owned())).to_vec();
    vec![
        choice(given, "connection", "Connection", connections(app, visitor)),
        choice(given, "kind", "Kind", words::<EventKind>()),
        choice(given, "outcome", "Outcome", words::<OutcomeCode>()),
        choice(given, "period", "Time", periods),
    ]
}

/// A filter with its present value; the first option means no filter.
pub(super) fn choice(
    given: &Given,
    name: &str,
    label: &str,
    options: Vec<(String, String)>,
) -> Field {
    let any = (String::new(), "any".to_owned());
    let options = std::iter::once(any).chain(options).collect();
    let value = given.get(name).cloned().unwrap_or_default();
    Field::new(name, label, Control::Select { value, options })
}

pub(super) fn words<T: StringEnum>() -> Vec<(String, String)> {
    T::ALL.iter().map(|it| (it.as_str().to_owned(), it.as_str().replace('-', " "))).collect()
}

/// The connections that the visitor sees, by id.
pub(super) fn connections(app: &AppState, visitor: &Visitor) -> Vec<(String, String)> {
    let all = app.services.connections.list().into_iter().map(|it| it.connection);
    let seen = all.filter(|it| visitor.account.sees(it.id));
    seen.map(|it| (it.id.to_string(), it.name)).collect()
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
