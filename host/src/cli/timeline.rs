//! Formats an event for people: its request, its outcome, its timeline, and its runs. This module
//! never prints anything.

use crate::api::{
    Event, EventWithRuns, LogLine, OutboundCall, Run, TimelinePart, TimelineWork, Usage,
};
use crate::domain::printable;

use super::output::table;
use super::units::{format_duration, format_fine_duration, format_size, format_time};

const HASH_CHARS: usize = 12;

pub(super) fn format_event(event: &EventWithRuns) -> String {
    let mut text = table(Vec::new(), event_rows(&event.event));
    let timeline: Vec<_> = event.timeline().iter().map(timeline_row).collect();
    if !timeline.is_empty() {
        text.push_str("\n\ntimeline");
        if !event.has_times() {
            text.push_str(
                " (an earlier Jackfield version stored no start times: the runs are shown one \
                 after the other)",
            );
        }
        add_indented(&mut text, "  ", timeline);
    }
    for (run, number) in event.runs.iter().zip(1..) {
        text.push_str(&format!("\n\nrun {number}: {}", format_run(run)));
    }
    text
}

/// Formats an event in a few lines: its outcome, then the log and the outbound calls of each run,
/// ordered by time.
pub(super) fn format_summary(event_with_runs: &EventWithRuns) -> String {
    let event = &event_with_runs.event;
    let answer = event.status.map(|it| format!(", HTTP {it} after {}", format_duration(event.ms)));
    let mut text = printable(&format!(
        "{} {} of {}{}: {}",
        format_time(event.received_at.0),
        event.kind,
        event.connection_name.as_deref().unwrap_or("no connection"),
        answer.unwrap_or_default(),
        outcome_text(&event.outcome.to_string(), &event.detail)
    ));
    for run in &event_with_runs.runs {
        let calls = run.calls.iter().map(|it| (it.at_ms, call_row(it)));
        let at_ms = |line: &LogLine| i64::try_from(line.at_ms).unwrap_or(i64::MAX);
        let log = run.log.iter().map(|it| (at_ms(it), log_row(it)));
        let mut rows: Vec<_> = calls.chain(log).collect();
        rows.sort_by_key(|(at_ms, _)| *at_ms);
        let name = run.call.to_string();
        rows.iter().for_each(|(_, row)| text.push_str(&format!("\n  {name}  {}", row.join("  "))));
    }
    text
}

fn event_rows(event: &Event) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            rows.push(vec![name.to_owned(), printable(&value)]);
        }
    };
    row("event", event.id.to_string());
    row("kind", event.kind.to_string());
    let connection = event.connection_name.clone();
    let connection = connection.or_else(|| Some(event.connection?.to_string()));
    row("connection", connection.unwrap_or_default());
    row("received", format_time(event.received_at.0));
    let after = format_duration(event.ms);
    row("answer", event.status.map(|it| format!("HTTP {it} after {after}")).unwrap_or_default());
    row("outcome", outcome_text(&event.outcome.to_string(), &event.detail));
    row("defect", event.defect.map(|id| id.to_string()).unwrap_or_default());
    let request = &event.request;
    row("request", format!("{} {}", request.method, request.path).trim().to_owned());
    for header in &request.headers {
        row("header", format!("{}: {}", header.name, header.value));
    }
    row("body", request.body.clone().unwrap_or_default());
    rows
}

fn outcome_text(code: &str, detail: &str) -> String {
    if detail.is_empty() { code.to_owned() } else { format!("{code}: {detail}") }
}

fn format_run(run: &Run) -> String {
    let hash: String = run.connector_sha256.chars().take(HASH_CHARS).collect();
    let mut text = printable(&format!(
        "{} by version {} ({hash}), {}",
        run.call,
        run.connector_version,
        outcome_text(&run.outcome.to_string(), &run.detail)
    ));
    if let Some(setting) = &run.setting {
        text.push_str(&format!("\n  setting to change: {}", printable(setting)));
    }
    for (heading, rows) in [
        ("calls", run.calls.iter().map(call_row).collect::<Vec<_>>()),
        ("log", run.log.iter().map(log_row).collect()),
        ("used of the limits", usage_rows(&run.usage)),
    ] {
        if !rows.is_empty() {
            text.push_str(&format!("\n  {heading}"));
            add_indented(&mut text, "    ", rows);
        }
    }
    text
}

fn add_indented(text: &mut String, indent: &str, rows: Vec<Vec<String>>) {
    let table = table(Vec::new(), rows);
    table.lines().for_each(|line| text.push_str(&format!("\n{indent}{}", line.trim_end())));
}

/// Returns one row of the timeline: start, duration and description of a part of the event.
fn timeline_row(part: &TimelinePart<'_>) -> Vec<String> {
    let description = match part.work {
        TimelineWork::Step(step) => step.step.to_string(),
        TimelineWork::WaitForPermit(run) => format!("queue of {}", run.call),
        TimelineWork::Instantiate(run) => format!("instantiate for {}", run.call),
        TimelineWork::Guest(run) => format!("guest {}", run.call),
        TimelineWork::Request(call) => format!("  {} {}{}", call.method, call.origin, call.path),
    };
    vec![
        format!("+{}", format_fine_duration(part.at_us)),
        format_fine_duration(part.us),
        printable(&description),
    ]
}

/// Returns the row of an outbound call: start, method, effect, status, duration, size and address.
fn call_row(call: &OutboundCall) -> Vec<String> {
    let status = call.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
    let query = call.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    let error = call.error.as_ref().map(|error| format!("  error: {error}")).unwrap_or_default();
    vec![
        call_start_text(call.at_ms),
        printable(&call.method),
        call.effect.to_string(),
        status,
        format_duration(call.ms),
        format_size(call.bytes),
        printable(&format!("{}{}{query}{error}", call.origin, call.path)),
    ]
}

fn call_start_text(at_ms: i64) -> String {
    let sign = if at_ms < 0 { "-" } else { "+" };
    format!("{sign}{}", format_duration(at_ms.unsigned_abs()))
}

fn log_row(line: &LogLine) -> Vec<String> {
    let at = format!("+{}", format_duration(line.at_ms));
    vec![at, line.level.to_string(), printable(&line.message)]
}

/// Returns rows with the configuration key of a limit, and how much of the limit the run used. The
/// last row is the time for which the run waited to start.
fn usage_rows(usage: &Usage) -> Vec<Vec<String>> {
    [
        ("run_ms", format_duration(usage.run_ms)),
        ("cpu_ms", format_duration(usage.cpu_ms)),
        ("memory_bytes", format_size(usage.memory_bytes)),
        ("outbound_calls", usage.outbound_calls.to_string()),
        ("request_body_bytes", format_size(usage.request_body_bytes)),
        ("response_body_bytes", format_size(usage.response_body_bytes)),
        ("log_bytes", format_size(usage.log_bytes)),
        ("handles", usage.handles.to_string()),
        ("waited to start", format_duration(usage.permit_ms)),
    ]
    .map(|(name, used)| vec![name.to_owned(), used])
    .to_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sample_event() -> EventWithRuns {
        let usage: Value = [
            "memory_bytes",
            "cpu_ms",
            "run_ms",
            "outbound_calls",
            "response_body_bytes",
            "request_body_bytes",
            "log_bytes",
            "handles",
            "polls",
            "yields",
            "waited_ticks",
            "permit_ms",
            "permits_before",
        ]
        .into_iter()
        .map(|name| (name.to_owned(), json!(2_048)))
        .collect::<serde_json::Map<_, _>>()
        .into();
        serde_json::from_value(json!({
            "id": "01a2b3c4-d5e6-7000-8000-000000000001", "connection": null,
            "connection_name": "qa\u{1b}", "kind": "create-defect",
            "received_at": "2026-11-28T19:58:51.250Z", "ms": 1_250, "status": 502,
            "outcome": "connector-fault", "detail": "it trapped", "defect": null,
            "request": {"method": "POST", "path": "/defects", "headers": [], "body": null},
            "steps": [{"step": "claim", "at_us": 420, "us": 1_250}],
            "runs": [{
                "call": "create", "outcome": "connector-fault", "detail": "it trapped",
                "connector_version": "1.0.0", "connector_sha256": "0123456789abcdef",
                "log": [{"at_ms": 7, "level": "info", "message": "hello\u{1b}[2J"}],
                "calls": [{"at_ms": 422, "method": "POST", "origin": "https://tracker",
                    "path": "/issues.json", "query": "a=1", "effect": "write", "status": 201,
                    "ms": 235, "bytes": 110, "error": null},
                    {"at_ms": 1_000, "method": "GET", "origin": "https://tracker", "path": "/x",
                    "effect": "read", "status": null, "ms": 3, "bytes": 0, "error": "reset"}],
                "usage": usage,
                "times": {"requested_us": 1_900, "started_us": 2_000, "called_us": 2_500,
                    "ended_us": 1_250_000},
            }],
        }))
        .expect("an event")
    }

    #[test]
    fn each_call_and_each_log_line_has_its_own_line() {
        let text = format_event(&sample_event());
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for expected in [
            "connection qa\\u{1b}",
            "received 2026-11-28 19:58:51 UTC",
            "answer HTTP 502 after 1.25s",
            "outcome connector-fault: it trapped",
            "run 1: create by version 1.0.0 (0123456789ab), connector-fault: it trapped",
            "+422ms POST write 201 235ms 110B https://tracker/issues.json?a=1",
            "+1.00s GET read - 3ms 0B https://tracker/x error: reset",
            "+7ms info hello\\u{1b}[2J",
            "memory_bytes 2.0KiB",
            "+0.42ms 1.25ms claim",
            "+2.00ms 0.50ms instantiate for create",
            "+2.50ms 1.24s guest create",
            "+424ms 235ms POST https://tracker/issues.json",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected:?} is missing:\n{text}");
        }
    }

    #[test]
    fn the_summary_contains_calls_and_log_lines_in_order_of_time() {
        assert_eq!(
            format_summary(&sample_event()).lines().collect::<Vec<_>>(),
            [
                "2026-11-28 19:58:51 UTC create-defect of qa\\u{1b}, HTTP 502 after 1.25s: \
                 connector-fault: it trapped",
                "  create  +7ms  info  hello\\u{1b}[2J",
                "  create  +422ms  POST  write  201  235ms  110B  https://tracker/issues.json?a=1",
                "  create  +1.00s  GET  read  -  3ms  0B  https://tracker/x  error: reset",
            ]
        );
    }
}
