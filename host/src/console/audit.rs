//! `/audit`: who changed what, and who tried what they may not, the newest first.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::api::{AuditEntry, AuditList, AuditQuery};
use crate::http::AppState;
use crate::http::admin::{Params, audit};
use crate::http::problem::Problem;

use super::frame::Visitor;
use super::listing::{Filters, Given, Listing, address};
use super::page::{Page, Section, render};
use super::parts::{Badge, Pager, Tone, When};

const PATH: &str = "/audit";

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    page: Page,
    rows: Vec<Row>,
    filters: Filters,
    pager: Pager,
}

/// An entry as a row of the table.
struct Row {
    when: When,
    outcome: Badge,
    /// The page with only entries of this action.
    of_action: String,
    it: AuditEntry,
}

pub(super) async fn show(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Query(given): Query<Given>,
) -> Result<Response, Problem> {
    let listing = Listing::new(PATH, given);
    let query = query(&listing)?;
    let Json(AuditList { entries, next }) = audit::list(State(app), Params(query)).await?;
    let row = |it: AuditEntry| Row {
        when: When::new(it.at.0, visitor.now),
        outcome: outcome(&it),
        of_action: address(PATH, std::iter::once(("action", it.action.as_str()))),
        it,
    };
    render(&AuditPage {
        page: visitor.page(Section::Audit, "Audit log"),
        rows: entries.into_iter().map(row).collect(),
        filters: listing.filters(vec![
            listing.input("account", "Account", "text"),
            listing.input("action", "Action", "text"),
            listing.input("object", "Object", "text"),
            listing.input("since", "From (UTC)", "date"),
            listing.input("until", "To (UTC)", "date"),
        ]),
        pager: listing.pager(next),
    })
}

fn query(listing: &Listing) -> Result<AuditQuery, Problem> {
    let text = |name: &str| listing.get(name).map(str::to_owned);
    Ok(AuditQuery {
        since: day(listing, "since", 0)?,
        until: day(listing, "until", 1)?,
        account: text("account"),
        object: text("object"),
        action: text("action"),
        cursor: listing.cursor()?,
        limit: None,
    })
}

/// The beginning of a day, or of the day so many days later.
fn day(listing: &Listing, name: &str, later: i32) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = listing.get(name) else { return Ok(None) };
    let date = text.parse::<Date>().ok();
    let begin = date.and_then(|date| {
        let date = date.checked_add(jiff::Span::new().days(later)).ok()?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    let why = || Problem::bad_request(format!("`{name}` is a day such as 2026-01-31"));
    begin.map(Some).ok_or_else(why)
}

/// The result of an entry.
fn outcome(it: &AuditEntry) -> Badge {
    let Some(code) = it.outcome.map(|it| it.0) else {
        return Badge::new(Tone::Warn, "unknown: the server ended");
    };
    let tone = if code.is_success() { Tone::Ok } else { Tone::Bad };
    let times = if it.repeats > 0 { format!(", {} times", it.repeats + 1) } else { String::new() };
    Badge::new(tone, format!("{}{times}", code.to_string().replace('-', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_where_the_next_begins() {
        let listing = |name: &str, value: &str| {
            Listing::new(PATH, Given::from([(name.to_owned(), value.to_owned())]))
        };
        let given = listing("until", "2026-02-28");
        let until = day(&given, "until", 1).unwrap().unwrap();
        assert_eq!(until.to_string(), "2026-03-01T00:00:00Z");
        assert_eq!(day(&given, "since", 0), Ok(None));
        let odd = listing("since", "yesterday");
        assert!(day(&odd, "since", 0).is_err());
    }
}
