//! The timeline of an event: a table with a row and a bar for each part of the event. The row also
//! contains the times as numbers, for people who cannot see the bars.

use askama::Template;

use crate::api::{EventWithRuns, OutboundCall, TimelinePart, TimelineWork, write_duration};
use crate::domain::{OutcomeCode, TimedStepKind};

/// Width that represents the duration of the event, SVG units.
const DRAWING_WIDTH: u64 = 1_000;
/// SVG units.
const BAR_WIDTH_MIN: u64 = 8;

#[derive(Debug, Template)]
#[template(path = "console/event/timeline.html")]
pub(super) struct Timeline {
    rows: Vec<TimelineRow>,
    event_duration: String,
    /// A sentence that explains why the event has no runs or no exact times.
    note: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq)]
struct TimelineRow {
    name: String,
    description: String,
    /// Whether the part is a request that a run sent.
    is_request: bool,
    error: Option<String>,
    /// From the start of the event, with its unit.
    start: String,
    /// With its unit.
    duration: String,
    bar: Bar,
}

/// `x` and `width` are in SVG units. `class` is the CSS class for the colour.
#[derive(Debug, PartialEq, Eq)]
struct Bar {
    x: u64,
    width: u64,
    class: &'static str,
}

impl Timeline {
    pub(super) fn new(event: &EventWithRuns) -> Self {
        let duration_us = event.duration_us();
        let total_us = duration_us.max(1);
        let rows: Vec<_> = event.timeline().iter().map(|it| part_row(it, total_us)).collect();
        let no_times = "An earlier version of Jackfield stored this event without the times of its \
                        steps, so the runs are drawn one after the other.";
        let note = match event.event.outcome.0 {
            _ if !event.has_times() => Some(no_times),
            _ if !event.runs.is_empty() => None,
            OutcomeCode::Repeated => Some(
                "No connector ran for this event: the defect existed already, or another request for \
                 the same failed test created it at the same time.",
            ),
            OutcomeCode::Counted => Some(
                "No connector ran for this event: the stored counts were recent, or another request \
                 counted the defects at the same time.",
            ),
            OutcomeCode::Running => Some("The event is still in progress."),
            _ => Some("No connector ran for this event."),
        };
        Self { rows, event_duration: format_us(duration_us), note }
    }
}

fn part_row(part: &TimelinePart<'_>, total_us: u64) -> TimelineRow {
    let (name, description, class) = match part.work {
        TimelineWork::Step(step) => match step.step.0 {
            TimedStepKind::Claim => ("Claim", "the failed test".to_owned(), "host"),
            TimedStepKind::Store => ("Store", "the outcome".to_owned(), "host"),
        },
        TimelineWork::WaitForPermit(run) => {
            ("Queue", format!("{} waits, because too many runs are in progress", run.call), "wait")
        }
        TimelineWork::Instantiate(run) => {
            ("Instantiate", format!("a new sandbox for {}", run.call), "host")
        }
        TimelineWork::Guest(run) => ("Guest", format!("{}: {}", run.call, run.outcome), "guest"),
        TimelineWork::Request(call) => return request_row(part, call, total_us),
    };
    TimelineRow {
        name: name.to_owned(),
        description,
        is_request: false,
        error: None,
        start: format_us(part.at_us),
        duration: format_us(part.us),
        bar: part_bar(part, total_us, class),
    }
}

/// The duration of a call is stored in whole milliseconds.
fn request_row(part: &TimelinePart<'_>, call: &OutboundCall, total_us: u64) -> TimelineRow {
    let has_failed = call.error.is_some() || call.status.is_some_and(|status| status >= 400);
    let answer =
        call.status.map(|status| format!(": {status}, {}", super::format_bytes(call.bytes)));
    TimelineRow {
        name: format!("{} {}", call.method, call.path),
        description: format!("{}, {}{}", call.origin, call.effect, answer.unwrap_or_default()),
        is_request: true,
        error: call.error.clone(),
        start: format_us(part.at_us),
        duration: if call.ms == 0 { "under 1 ms".to_owned() } else { super::format_ms(call.ms) },
        bar: part_bar(part, total_us, if has_failed { "bad" } else { "ok" }),
    }
}

fn part_bar(part: &TimelinePart<'_>, total_us: u64, class: &'static str) -> Bar {
    let scaled = |us: u64| us.saturating_mul(DRAWING_WIDTH) / total_us;
    let x = scaled(part.at_us).min(DRAWING_WIDTH - BAR_WIDTH_MIN);
    Bar { x, width: scaled(part.us).clamp(BAR_WIDTH_MIN, DRAWING_WIDTH - x), class }
}

fn format_us(us: u64) -> String {
    write_duration(us, " ms", super::format_ms)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(outcome: &str, steps: &Value, runs: &Value) -> EventWithRuns {
        serde_json::from_value(json!({
            "id": "01a2b3c4-d5e6-7000-8000-000000000001", "connection": null,
            "connection_name": null, "kind": "create-defect",
            "received_at": "2026-11-28T19:58:51.250Z", "ms": 40, "status": 200,
            "outcome": outcome, "detail": "", "defect": null,
            "request": {"method": "POST", "path": "/defects", "headers": [], "body": null},
            "steps": steps, "runs": runs,
        }))
        .expect("an event")
    }

    fn created_event() -> EventWithRuns {
        let usage = json!({"memory_bytes": 0, "cpu_ms": 0, "run_ms": 20, "outbound_calls": 0,
            "response_body_bytes": 0, "request_body_bytes": 0, "log_bytes": 0, "handles": 0,
            "polls": 0, "yields": 0, "waited_ticks": 0, "permit_ms": 0, "permits_before": 0});
        let call = json!({"at_ms": 4, "method": "POST", "origin": "https://tracker",
            "path": "/<issues>", "effect": "write", "status": 422, "ms": 10, "bytes": 512,
            "error": null});
        let run = json!({"call": "create", "outcome": "ok", "detail": "", "connector_version": "1",
            "connector_sha256": "", "log": [], "calls": [call], "usage": usage,
            "times": {"requested_us": 1_000, "started_us": 3_000, "called_us": 4_000,
                "ended_us": 30_000}});
        let steps = json!([{"step": "claim", "at_us": 400, "us": 550},
            {"step": "store", "at_us": 36_000, "us": 4_000}]);
        event("created", &steps, &json!([run]))
    }

    #[test]
    fn each_part_is_a_row_with_its_times_and_a_bar() {
        let Timeline { rows, event_duration, note } = Timeline::new(&created_event());
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                (row.name.as_str(), row.start.as_str(), row.duration.as_str(), row.bar.class)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("Claim", "0.40 ms", "0.55 ms", "host"),
                ("Queue", "1.00 ms", "2.00 ms", "wait"),
                ("Instantiate", "3.00 ms", "1.00 ms", "host"),
                ("Guest", "4.00 ms", "26 ms", "guest"),
                ("POST /<issues>", "7.00 ms", "10 ms", "bad"),
                ("Store", "36 ms", "4.00 ms", "host"),
            ]
        );
        assert_eq!((event_duration.as_str(), note), ("40 ms", None));
        assert_eq!(rows[3].description, "create: ok");
        assert_eq!(rows[4].description, "https://tracker, write: 422, 512 B");
        let bars: Vec<_> = rows.iter().map(|row| (row.bar.x, row.bar.width)).collect();
        let expected = [(10, 13), (25, 50), (75, 25), (100, 650), (175, 250), (900, 100)];
        assert_eq!(bars, expected);
    }

    #[test]
    fn each_bar_is_visible_and_inside_the_drawing() {
        let step = |at_us, us| json!({"step": "claim", "at_us": at_us, "us": us});
        let steps = json!([step(0, 1), step(40_000, 0), step(39_999, 1)]);
        for TimelineRow { bar, .. } in Timeline::new(&event("created", &steps, &json!([]))).rows {
            assert!(bar.width >= BAR_WIDTH_MIN && bar.x + bar.width <= DRAWING_WIDTH, "{bar:?}");
        }
    }

    #[test]
    fn a_note_explains_why_an_event_has_no_run() {
        let note = |outcome| {
            let timeline = Timeline::new(&event(outcome, &json!([]), &json!([])));
            timeline.note.unwrap_or_default()
        };
        assert!(note("repeated").contains("existed already"), "{}", note("repeated"));
        assert!(note("counted").contains("counts"), "{}", note("counted"));
        assert_eq!(note("paused"), "No connector ran for this event.");
    }

    #[test]
    fn the_path_of_an_outbound_call_is_escaped() {
        let page = Timeline::new(&created_event()).to_string();
        assert!(page.contains("/&#60;issues&#62;") && !page.contains("<issues>"), "{page}");
    }
}
