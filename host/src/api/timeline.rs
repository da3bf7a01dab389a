//! Computes the timeline of an event: the parts of the event in the order in which they began. No
//! answer of the API contains a timeline.

use super::{EventWithRuns, OutboundCall, Run, Step};

/// The shortest wait for a permit that the timeline shows as a separate part, microseconds.
const PERMIT_WAIT_US_MIN: u64 = 1_000;

/// One part of the timeline of an event.
#[derive(Debug, Clone, Copy)]
pub struct TimelinePart<'a> {
    /// What happened in this part.
    pub work: TimelineWork<'a>,
    /// The time from the start of the event to the beginning of the part, microseconds.
    pub at_us: u64,
    /// The duration of the part, microseconds.
    pub us: u64,
}

/// What happened in a part of the timeline.
#[derive(Debug, Clone, Copy)]
pub enum TimelineWork<'a> {
    /// The host claims the row of the failed test, or stores an outcome in it.
    Step(&'a Step),
    /// A run waits for its permit.
    WaitForPermit(&'a Run),
    /// The host makes the instance for a run.
    Instantiate(&'a Run),
    /// The guest runs.
    Guest(&'a Run),
    /// The guest, or the host before the run, sends a request and waits for its answer.
    Request(&'a OutboundCall),
}

impl TimelinePart<'_> {
    /// The time from the start of the event to the end of the part, microseconds.
    fn end_us(&self) -> u64 {
        self.at_us.saturating_add(self.us)
    }
}

impl EventWithRuns {
    /// The parts of the event in the order in which they began. A run without times is placed after
    /// the run before it.
    #[must_use]
    pub fn timeline(&self) -> Vec<TimelinePart<'_>> {
        let steps = self.steps.iter();
        let mut parts: Vec<_> = steps
            .map(|step| TimelinePart {
                work: TimelineWork::Step(step),
                at_us: step.at_us,
                us: step.us,
            })
            .collect();
        let mut end_us = 0;
        for run in &self.runs {
            let run_parts = if run.times.is_some() {
                parts_with_times(run)
            } else {
                parts_without_times(run, end_us)
            };
            end_us = run_parts.iter().map(TimelinePart::end_us).max().unwrap_or(end_us);
            parts.extend(run_parts);
        }
        parts.sort_by_key(|part| part.at_us);
        parts
    }

    /// The time from the start of the event to the end of its last part or to its answer, whichever
    /// is later, microseconds.
    #[must_use]
    pub fn duration_us(&self) -> u64 {
        let last = self.timeline().iter().map(TimelinePart::end_us).max().unwrap_or_default();
        last.max(self.event.ms.saturating_mul(1_000))
    }

    /// Whether every run of the event has times. A run that an earlier version of the server stored
    /// has no times.
    #[must_use]
    pub fn has_times(&self) -> bool {
        self.runs.iter().all(|run| run.times.is_some())
    }
}

/// Writes a duration for people. A duration below 10 ms is written in milliseconds with two
/// decimals, followed by `ms_unit`. A longer duration is written by `write_ms`, which receives the
/// whole milliseconds.
#[must_use]
pub fn write_duration(us: u64, ms_unit: &str, write_ms: impl FnOnce(u64) -> String) -> String {
    match us {
        ..10_000 => format!("{}.{:02}{ms_unit}", us / 1_000, us % 1_000 / 10),
        _ => write_ms(us / 1_000),
    }
}

fn part_between(work: TimelineWork<'_>, from_us: u64, to_us: u64) -> TimelinePart<'_> {
    TimelinePart { work, at_us: from_us, us: to_us.saturating_sub(from_us) }
}

fn parts_with_times(run: &Run) -> Vec<TimelinePart<'_>> {
    let Some(times) = run.times else { return Vec::new() };
    let mut parts = Vec::new();
    let Some(started_us) = times.started_us else {
        return vec![part_between(
            TimelineWork::WaitForPermit(run),
            times.requested_us,
            times.ended_us,
        )];
    };
    if started_us.saturating_sub(times.requested_us) >= PERMIT_WAIT_US_MIN {
        parts.push(part_between(TimelineWork::WaitForPermit(run), times.requested_us, started_us));
    }
    let called_us = times.called_us.unwrap_or(times.ended_us);
    parts.push(part_between(TimelineWork::Instantiate(run), started_us, called_us));
    if times.called_us.is_some() {
        parts.push(part_between(TimelineWork::Guest(run), called_us, times.ended_us));
    }
    // The times of requests are stored in whole milliseconds. Without the correction below, a
    // request could seem to begin before the guest was called.
    let requests = run.calls.iter().map(|call| {
        let from_us = shifted_by_ms(started_us, call.at_ms);
        let from_us = if call.at_ms < 0 { from_us } else { from_us.max(called_us) };
        let to_us = from_us.saturating_add(call.ms.saturating_mul(1_000));
        let to_us = if call.at_ms < 0 { to_us } else { to_us.min(times.ended_us) };
        part_between(TimelineWork::Request(call), from_us, to_us)
    });
    parts.extend(requests);
    parts
}

/// The parts of a run of which only the duration is known. The run is placed at `from_us`.
fn parts_without_times(run: &Run, from_us: u64) -> Vec<TimelinePart<'_>> {
    let to_us = from_us.saturating_add(run.usage.run_ms.saturating_mul(1_000));
    let mut parts = vec![part_between(TimelineWork::Guest(run), from_us, to_us)];
    let requests = run.calls.iter().map(|call| {
        let at_us = shifted_by_ms(from_us, call.at_ms);
        TimelinePart { work: TimelineWork::Request(call), at_us, us: call.ms.saturating_mul(1_000) }
    });
    parts.extend(requests);
    parts
}

fn shifted_by_ms(us: u64, ms: i64) -> u64 {
    us.saturating_add_signed(ms.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event_with(steps: &Value, runs: &[Value]) -> EventWithRuns {
        serde_json::from_value(json!({
            "id": "01a2b3c4-d5e6-7000-8000-000000000001", "connection": null,
            "connection_name": null, "kind": "create-defect",
            "received_at": "2026-11-28T19:58:51.250Z", "ms": 40, "status": 200,
            "outcome": "created", "detail": "", "defect": null,
            "request": {"method": "POST", "path": "/defects", "headers": [], "body": null},
            "steps": steps, "runs": runs,
        }))
        .expect("an event")
    }

    fn run_json(call: &str, times: &Value, calls: &Value) -> Value {
        let usage = json!({"memory_bytes": 0, "cpu_ms": 0, "run_ms": 20, "outbound_calls": 0,
            "response_body_bytes": 0, "request_body_bytes": 0, "log_bytes": 0, "handles": 0,
            "polls": 0, "yields": 0, "waited_ticks": 0, "permit_ms": 0, "permits_before": 0});
        json!({"call": call, "outcome": "ok", "detail": "", "connector_version": "1",
            "connector_sha256": "", "log": [], "calls": calls, "usage": usage, "times": times})
    }

    fn request_json(at_ms: i64, ms: u64) -> Value {
        json!({"at_ms": at_ms, "method": "GET", "origin": "https://tracker", "path": "/x",
            "effect": "read", "status": 200, "ms": ms, "bytes": 0, "error": null})
    }

    /// The name, the beginning and the end of each part.
    fn named_parts(event: &EventWithRuns) -> Vec<(String, u64, u64)> {
        let name = |work| match work {
            TimelineWork::Step(step) => step.step.to_string(),
            TimelineWork::WaitForPermit(_) => "queue".to_owned(),
            TimelineWork::Instantiate(_) => "instantiate".to_owned(),
            TimelineWork::Guest(run) => run.call.to_string(),
            TimelineWork::Request(call) => call.method.clone(),
        };
        event.timeline().iter().map(|part| (name(part.work), part.at_us, part.end_us())).collect()
    }

    fn expected<const N: usize>(parts: [(&str, u64, u64); N]) -> Vec<(String, u64, u64)> {
        parts.map(|(name, from, to)| (name.to_owned(), from, to)).to_vec()
    }

    #[test]
    fn the_parts_of_a_create_are_in_the_order_in_which_they_began() {
        let steps = json!([
            {"step": "claim", "at_us": 300, "us": 700},
            {"step": "store", "at_us": 31_000, "us": 2_000},
        ]);
        let times = json!({"requested_us": 1_100, "started_us": 1_200, "called_us": 1_900, "ended_us": 30_000});
        // The first request was sent before the run, and the second one in its first millisecond.
        let calls = json!([request_json(-1, 1), request_json(0, 3), request_json(4, 90)]);
        let created = event_with(&steps, &[run_json("create", &times, &calls)]);
        assert_eq!(
            named_parts(&created),
            expected([
                ("GET", 200, 1_200),
                ("claim", 300, 1_000),
                ("instantiate", 1_200, 1_900),
                ("create", 1_900, 30_000),
                ("GET", 1_900, 4_900),
                ("GET", 5_200, 30_000),
                ("store", 31_000, 33_000),
            ])
        );
        assert_eq!((created.duration_us(), created.has_times()), (40_000, true));
    }

    #[test]
    fn a_wait_for_a_permit_is_a_part_even_if_the_run_received_no_permit() {
        let waited = json!({"requested_us": 1_000, "started_us": 9_000, "called_us": null,
            "ended_us": 9_500});
        let refused = json!({"requested_us": 10_000, "started_us": null, "called_us": null, "ended_us": 90_000});
        let [waited, refused] = [waited, refused].map(|times| run_json("find", &times, &json!([])));
        let refused = event_with(&json!([]), &[waited, refused]);
        assert_eq!(
            named_parts(&refused),
            expected([
                ("queue", 1_000, 9_000),
                ("instantiate", 9_000, 9_500),
                ("queue", 10_000, 90_000),
            ])
        );
        assert_eq!(refused.duration_us(), 90_000, "the run continued after the answer");
    }

    #[test]
    fn runs_without_times_are_placed_one_after_the_other() {
        let old_run = |call, at_ms| run_json(call, &Value::Null, &json!([request_json(at_ms, 2)]));
        let old = event_with(&json!([]), &[old_run("find", 1), old_run("create", 5)]);
        assert_eq!(
            named_parts(&old),
            expected([
                ("find", 0, 20_000),
                ("GET", 1_000, 3_000),
                ("create", 20_000, 40_000),
                ("GET", 25_000, 27_000),
            ])
        );
        assert!(!old.has_times());
    }
}
