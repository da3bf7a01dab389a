//! `/audit`: who changed what, and who tried what they may not, the newest first.

use std::collections::BTreeMap;
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

use super::events::address;
use super::frame::Visitor;
use super::page::{Page, Section, render};
use super::parts::{Badge, Field, Pager, Tone, When};

const PATH: &str = "/audit";

/// The query of the page: empty values count as absent, because forms send them.
type Given = BTreeMap<String, String>;

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    page: Page,
    rows: Vec<Row>,
    filters: Vec<Field>,
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

pub(in crate::http) async fn show(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Query(mut given): Query<Given>,
) -> Result<Response, Problem> {
    given.retain(|_, value| !value.trim().is_empty());
    let Json(AuditList { entries, next }) = audit::list(State(app), Params(query(&given)?)).await?;
    let row = |it: AuditEntry| Row {
        when: When::new(it.at.0, visitor.now),
        outcome: outcome(&it),
        of_action: address(PATH, &Given::from([("action".to_owned(), it.action.clone())])),
        it,
    };
    let filters = filters(&given);
    let is_first = given.remove("cursor").is_none();
    let here = address(PATH, &given);
    let next = next.map(|cursor| {
        given.insert("cursor".to_owned(), cursor.to_string());
        address(PATH, &given)
    });
    render(&AuditPage {
        page: visitor.page(Section::Audit, "Audit log"),
        rows: entries.into_iter().map(row).collect(),
        filters,
        pager: Pager { first: (!is_first).then_some(here), next },
    })
}

fn query(given: &Given) -> Result<AuditQuery, Problem> {
    let cursor = given.get("cursor").map(|cursor| cursor.parse());
    let cursor = cursor.transpose().map_err(|_| Problem::bad_request("`cursor` is not an id"))?;
    let text = |name: &str| given.get(name).map(|text| text.trim().to_owned());
    Ok(AuditQuery {
        since: day(given, "since", 0)?,
        until: day(given, "until", 1)?,
        account: text("account"),
        object: text("object"),
        action: text("action"),
        cursor,
        limit: None,
    })
}

/// The beginning of a day, or of the day so many days later.
fn day(given: &Given, name: &str, later: i32) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = given.get(name) else { return Ok(None) };
    let date = text.trim().parse::<Date>().ok();
    let begin = date.and_then(|date| {
        let date = date.checked_add(jiff::Span::new().days(later)).ok()?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    let why = || Problem::bad_request(format!("`{name}` is a day such as 2026-01-31"));
    begin.map(Some).ok_or_else(why)
}

fn filters(given: &Given) -> Vec<Field> {
    let value = |name: &str| given.get(name).cloned().unwrap_or_default();
    let field = |name: &str, label: &str| Field::text(name, label, value(name));
    let day = |name: &str, label: &str| {
        let control = super::parts::Control::Input { kind: "date", value: value(name) };
        Field::new(name, label, control)
    };
    vec![
        field("account", "Account"),
        field("action", "Action"),
        field("object", "Object"),
        day("since", "From (UTC)"),
        day("until", "To (UTC)"),
    ]
}

/// What came of an entry.
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
        let given = Given::from([("until".to_owned(), "2026-02-28".to_owned())]);
        let until = day(&given, "until", 1).unwrap().unwrap();
        assert_eq!(until.to_string(), "2026-03-01T00:00:00Z");
        assert_eq!(day(&given, "since", 0), Ok(None));
        let odd = Given::from([("since".to_owned(), "yesterday".to_owned())]);
        assert!(day(&odd, "since", 0).is_err());
    }
}
