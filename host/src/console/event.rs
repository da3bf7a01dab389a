//! The page of one event: its request, its answer, its timeline and its runs.

mod timeline;

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use crate::api::{Event, EventWithRuns, LogLine, Run, Usage};
use crate::domain::{ConnectionId, Limits, Role};
use crate::http::AppState;
use crate::http::admin::{Id, events};
use crate::http::problem::Problem;
use crate::json::Json;

use super::events::outcome_badge;
use super::frame::Visitor;
use super::page::{Layout, Section, render};
use super::parts::{Action, Badge, RelativeTime};
use super::replay::Recording;

use timeline::Timeline;

#[derive(Template)]
#[template(path = "console/event.html")]
struct EventPage {
    layout: Layout,
    event: Event,
    received_at: RelativeTime,
    outcome: Badge,
    timeline: Timeline,
    runs: Vec<RunPart>,
    /// `None` for an account that may not read recorded bodies.
    recording: Option<Recording>,
    replay_action: Action,
}

struct RunPart {
    run: Run,
    log: Vec<LogLine>,
    used_limits: Vec<UsedLimit>,
}

/// How much of one limit a run used.
pub(super) struct UsedLimit {
    pub(super) limit_name: &'static str,
    /// In the unit of the limit; at most `limit`, where the bar of the page ends.
    pub(super) used: u64,
    pub(super) limit: u64,
    /// The used amount and the limit, such as `64 KiB of 128 MiB`.
    pub(super) text: String,
}

pub(super) async fn show_event(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Id(id): Id,
) -> Result<Response, Problem> {
    let account = visitor.account.clone();
    let Json(with_runs) = events::show(State(Arc::clone(&app)), Extension(account), Id(id)).await?;
    let timeline = Timeline::new(&with_runs);
    let EventWithRuns { event, runs, .. } = with_runs;
    let limits = current_limits(&app, &event);
    let recording = if visitor.account.may(Role::Operator) {
        Some(Recording::load(&State(app), &visitor, &event).await?)
    } else {
        None
    };
    let replay_href = format!("/events/{}/replay", event.id);
    render(&EventPage {
        layout: visitor.layout(Section::Events, format!("Event {}", event.id)),
        received_at: RelativeTime::new(event.received_at.0, visitor.now),
        outcome: outcome_badge(&event),
        timeline,
        runs: runs.into_iter().map(|it| run_part(it, &limits)).collect(),
        recording,
        replay_action: Action::link(&visitor, Role::Operator, "Replay", replay_href),
        event,
    })
}

/// The limits may have been different at the time of the event. Without a connection, returns the
/// defaults.
fn current_limits(app: &AppState, event: &Event) -> Limits {
    let connections = &app.services.connections;
    let active = event.connection.and_then(|id| connections.active(ConnectionId(id)));
    active.map_or_else(Limits::default, |active| connections.limits(&active.connection))
}

fn run_part(mut run: Run, limits: &Limits) -> RunPart {
    let log = std::mem::take(&mut run.log);
    RunPart { log, used_limits: used_limits(&run.usage, limits), run }
}

pub(super) fn used_limits(usage: &Usage, limits: &Limits) -> Vec<UsedLimit> {
    let row = |limit_name, used: u64, limit: u64, format: fn(u64) -> String| UsedLimit {
        limit_name,
        used: used.min(limit),
        limit,
        text: format!("{} of {}", format(used), format(limit)),
    };
    vec![
        row("Memory", usage.memory_bytes, limits.memory_bytes, format_bytes),
        row("CPU time", usage.cpu_ms, limits.cpu_ms, format_ms),
        row("Duration", usage.run_ms, limits.run_ms, format_ms),
        row("Outbound calls", usage.outbound_calls, limits.outbound_calls, |n| n.to_string()),
        row("Largest answer", usage.response_body_bytes, limits.response_body_bytes, format_bytes),
        row("Largest request", usage.request_body_bytes, limits.request_body_bytes, format_bytes),
        row("Log", usage.log_bytes, limits.log_bytes, format_bytes),
        row("Handles", usage.handles, limits.handles, |n| n.to_string()),
    ]
}

pub(super) fn format_bytes(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes / 1_024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

pub(super) fn format_ms(ms: u64) -> String {
    if ms < 10_000 { format!("{ms} ms") } else { format!("{} s", ms / 1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_have_larger_units() {
        let sizes = [512, 65_536, 134_217_728].map(format_bytes);
        assert_eq!(sizes, ["512 B", "64 KiB", "128 MiB"]);
        assert_eq!([format_ms(9), format_ms(120_000)], ["9 ms", "120 s"]);
    }
}
