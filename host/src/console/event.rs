//! `/events/{id}`: one event on one page: the request, the answer, its timeline, and each run with
//! its log and its use of the limits.

mod timeline;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};

use crate::api::{Event, EventWithRuns, LogLine, Run, Usage};
use crate::domain::{ConnectionId, Limits, Role};
use crate::http::AppState;
use crate::http::admin::{Id, events};
use crate::http::problem::Problem;

use super::events::outcome;
use super::frame::Visitor;
use super::page::{Page, Section, render};
use super::parts::{Action, Badge, When};
use super::replay::Recording;

use timeline::Timeline;

#[derive(Template)]
#[template(path = "console/event.html")]
struct EventPage {
    page: Page,
    it: Event,
    when: When,
    outcome: Badge,
    timeline: Timeline,
    runs: Vec<RunPart>,
    /// What is recorded; absent for an account that may not read bodies.
    recording: Option<Recording>,
    replay: Action,
}

/// A run as people read it.
struct RunPart {
    it: Run,
    log: Vec<LogLine>,
    used: Vec<Used>,
}

/// How much of a limit a run used.
pub(super) struct Used {
    pub(super) what: &'static str,
    pub(super) value: u64,
    pub(super) limit: u64,
    pub(super) text: String,
}

pub(super) async fn show(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Id(id): Id,
) -> Result<Response, Problem> {
    let account = visitor.account.clone();
    let found = events::show(State(Arc::clone(&app)), Extension(account), Id(id)).await?;
    let Json(found) = found;
    let timeline = Timeline::new(&found);
    let EventWithRuns { event, runs, .. } = found;
    let limits = limits(&app, &event);
    let recording = if visitor.account.may(Role::Operator) {
        Some(Recording::read(&State(app), &visitor, &event).await?)
    } else {
        None
    };
    let to_replay = format!("/events/{}/replay", event.id);
    render(&EventPage {
        page: visitor.page(Section::Events, format!("Event {}", event.id)),
        when: When::new(event.received_at.0, visitor.now),
        outcome: outcome(&event),
        timeline,
        runs: runs.into_iter().map(|it| run(it, &limits)).collect(),
        recording,
        replay: Action::link(&visitor, Role::Operator, "Replay", to_replay),
        it: event,
    })
}

/// The limits of the connector that the event's connection uses now.
fn limits(app: &AppState, event: &Event) -> Limits {
    let connections = &app.services.connections;
    let active = event.connection.and_then(|id| connections.active(ConnectionId(id)));
    active.map_or_else(Limits::default, |active| connections.limits(&active.connection))
}

fn run(mut it: Run, limits: &Limits) -> RunPart {
    RunPart { log: std::mem::take(&mut it.log), used: used(&it.usage, limits), it }
}

pub(super) fn used(usage: &Usage, limits: &Limits) -> Vec<Used> {
    let part = |what, value: u64, limit: u64, unit: fn(u64) -> String| Used {
        what,
        value: value.min(limit),
        limit,
        text: format!("{} of {}", unit(value), unit(limit)),
    };
    vec![
        part("Memory", usage.memory_bytes, limits.memory_bytes, size),
        part("CPU time", usage.cpu_ms, limits.cpu_ms, time),
        part("Duration", usage.run_ms, limits.run_ms, time),
        part("Outbound calls", usage.outbound_calls, limits.outbound_calls, |n| n.to_string()),
        part("Largest answer", usage.response_body_bytes, limits.response_body_bytes, size),
        part("Largest request", usage.request_body_bytes, limits.request_body_bytes, size),
        part("Log", usage.log_bytes, limits.log_bytes, size),
        part("Handles", usage.handles, limits.handles, |n| n.to_string()),
    ]
}

pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes / 1_024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

pub(super) fn time(ms: u64) -> String {
    if ms < 10_000 { format!("{ms} ms") } else { format!("{} s", ms / 1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_the_unit_that_fits() {
        assert_eq!([size(512), size(65_536), size(134_217_728)], ["512 B", "64 KiB", "128 MiB"]);
        assert_eq!([time(9), time(120_000)], ["9 ms", "120 s"]);
    }
}
