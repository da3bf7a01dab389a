//! The page of the audit log, the newest entry first.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::api::{AuditEntry, AuditList, AuditQuery};
use crate::domain::OutcomeCode;
use crate::http::AppState;
use crate::http::admin::{Params, audit};
use crate::http::problem::Problem;
use crate::json::Json;

use super::frame::Visitor;
use super::listing::{FilterForm, Listing, QueryValues, url_with_query};
use super::page::{Layout, Section, render};
use super::parts::{Badge, Pager, RelativeTime, Tone};

const PATH: &str = "/audit";

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    layout: Layout,
    rows: Vec<AuditRow>,
    filters: FilterForm,
    pager: Pager,
}

struct AuditRow {
    time: RelativeTime,
    outcome: Badge,
    /// The address of the page that lists only entries with the same action.
    same_action_href: String,
    entry: AuditEntry,
}

pub(super) async fn show_audit_log(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Query(query): Query<QueryValues>,
) -> Result<Response, Problem> {
    let listing = Listing::new(PATH, query);
    let query = audit_query(&listing)?;
    let Json(AuditList { entries, next }) = audit::list(State(app), Params(query)).await?;
    let row = |entry: AuditEntry| AuditRow {
        time: RelativeTime::new(entry.at.0, visitor.now),
        outcome: outcome_badge(&entry),
        same_action_href: url_with_query(PATH, std::iter::once(("action", entry.action.as_str()))),
        entry,
    };
    render(&AuditPage {
        layout: visitor.layout(Section::Audit, "Audit log"),
        rows: entries.into_iter().map(row).collect(),
        filters: listing.filter_form(vec![
            listing.text_filter("account", "Account", "text"),
            listing.text_filter("action", "Action", "text"),
            listing.text_filter("object", "Object", "text"),
            listing.text_filter("since", "From (UTC)", "date"),
            listing.text_filter("until", "To (UTC)", "date"),
        ]),
        pager: listing.pager(next),
    })
}

fn audit_query(listing: &Listing) -> Result<AuditQuery, Problem> {
    let text = |name: &str| listing.get(name).map(str::to_owned);
    Ok(AuditQuery {
        since: start_of_day(listing, "since", 0)?,
        until: start_of_day(listing, "until", 1)?,
        account: text("account"),
        object: text("object"),
        action: text("action"),
        cursor: listing.cursor()?,
        limit: None,
    })
}

/// Reads a date from the query value `name`, and returns the start of the day that is `days_later`
/// days later, in UTC.
fn start_of_day(
    listing: &Listing,
    name: &str,
    days_later: i32,
) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = listing.get(name) else { return Ok(None) };
    let date = text.parse::<Date>().ok();
    let start = date.and_then(|date| {
        let date = date.checked_add(jiff::Span::new().days(days_later)).ok()?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    let not_a_date = || Problem::bad_request(format!("`{name}` must be a date such as 2026-01-31"));
    start.map(Some).ok_or_else(not_a_date)
}

/// An entry has no outcome while its action runs, and never gets one if the server ended during the
/// action or could not store it.
fn outcome_badge(entry: &AuditEntry) -> Badge {
    let Some(code) = entry.outcome.map(|it| it.0) else {
        return Badge::new(Tone::Warn, "unknown");
    };
    let has_succeeded = code == OutcomeCode::Ok || code.is_success();
    let tone = if has_succeeded { Tone::Ok } else { Tone::Bad };
    let times =
        if entry.repeats > 0 { format!(", {} times", entry.repeats + 1) } else { String::new() };
    Badge::new(tone, format!("{}{times}", code.to_string().replace('-', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{EnumString, Time};
    use crate::domain::Via;

    #[test]
    fn a_successful_change_is_shown_as_a_success() {
        let entry = |outcome| AuditEntry {
            id: uuid::Uuid::nil(),
            at: Time(Timestamp::UNIX_EPOCH),
            account: None,
            role: None,
            client: "127.0.0.1".to_owned(),
            via: EnumString(Via::Api),
            action: "connection.pause".to_owned(),
            object: None,
            outcome: Some(EnumString(outcome)),
            event: None,
            repeats: 0,
        };
        let tone = |outcome| outcome_badge(&entry(outcome)).tone;
        assert!(matches!(tone(OutcomeCode::Ok), Tone::Ok));
        assert!(matches!(tone(OutcomeCode::Created), Tone::Ok));
        assert!(matches!(tone(OutcomeCode::RoleTooLow), Tone::Bad));
    }

    #[test]
    fn a_filter_includes_its_last_day() {
        let listing = |name: &str, value: &str| {
            Listing::new(PATH, QueryValues::from([(name.to_owned(), value.to_owned())]))
        };
        let with_until = listing("until", "2026-02-28");
        let until = start_of_day(&with_until, "until", 1).unwrap().unwrap();
        assert_eq!(until.to_string(), "2026-03-01T00:00:00Z");
        assert_eq!(start_of_day(&with_until, "since", 0), Ok(None));
        let not_a_date = listing("since", "yesterday");
        assert!(start_of_day(&not_a_date, "since", 0).is_err());
    }
}
