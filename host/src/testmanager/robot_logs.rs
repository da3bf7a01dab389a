//! Reads the lines of the robot that ran one failed test. Test Manager selects lines by execution
//! and test case only, so the lines of other variations are recognised by their job or their time.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::domain::FailedTest;

use super::client::Client;
use super::json::text;
use super::pages::{self, Paging};
use super::parts::{FetchedPart, Part, newest};

/// Maximum number of lines; the newest are kept.
const LINES_MAX: usize = 200;
/// Maximum number of pages that are searched for lines of one variation.
const PAGES_MAX: usize = 10;
/// Maximum difference between the clock of a robot and the clock of Test Manager.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

/// Reads the newest lines. `log` fetches the log of the failed test; only a test with a variation
/// needs it.
pub(super) async fn read(
    client: &Client,
    project: &str,
    test: &FailedTest,
    log: impl Future<Output = Part>,
) -> Part {
    let (execution, case) = (test.test_execution_id.to_string(), test.test_case_id.to_string());
    let path = [project, "orchestrator", "testexecution", &execution, "robotlogs", "paged"];
    let query = [("orderBy", "Timestamp desc"), ("testcaseid", case.as_str())];
    if test.variation_id().is_none() {
        return newest(client, &path, &query, LINES_MAX).await;
    }
    if let Some(own) = log.await.ok().and_then(|log| LogWindow::of(&log.value)) {
        let found = read_lines_of_log(client, &path, &query, &own).await?;
        // If no line is found, the clocks of robot and Test Manager probably differ too much.
        if found.value.as_array().is_some_and(|lines| !lines.is_empty()) {
            return Ok(found);
        }
    }
    let mut found = newest(client, &path, &query, LINES_MAX).await?;
    found.note = Some("it has lines of all variations of the test case".to_owned());
    Ok(found)
}

/// Reads the newest lines that belong to one log.
async fn read_lines_of_log(
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
    own: &LogWindow,
) -> Part {
    let paging = Paging {
        top: LINES_MAX,
        pages_max: PAGES_MAX,
        keep: |line: &Value| own.has(line),
        enough: |lines: &[Value]| lines.len() > LINES_MAX,
    };
    let mut found = FetchedPart::from(pages::read(client, path, query, paging).await?);
    let lines = found.value.as_array_mut().map_or(0, |lines| {
        let count = lines.len();
        lines.truncate(LINES_MAX);
        count
    });
    if lines > LINES_MAX {
        found.note = Some(format!("only the newest {LINES_MAX} are here"));
    }
    Ok(found)
}

/// The job and the time by which the lines of one log are recognised.
struct LogWindow {
    job: Option<String>,
    from: Timestamp,
    /// The end of the test; `None` if it did not end.
    to: Option<Timestamp>,
}

impl LogWindow {
    fn of(log: &Value) -> Option<Self> {
        let job = text(log, &["jobKey"]);
        let from = time_of(log, &["executionStart"])?.checked_sub(CLOCK_TOLERANCE).ok()?;
        let to = time_of(log, &["executionEnd", "executionFinished"]);
        let to = to.and_then(|to| to.checked_add(CLOCK_TOLERANCE).ok());
        Some(Self { job, from, to })
    }

    /// Whether the line belongs to this log. A line without job and time counts as belonging to it.
    fn has(&self, line: &Value) -> bool {
        if let (Some(own), Some(job)) = (&self.job, text(line, &["jobKey"])) {
            return own.eq_ignore_ascii_case(&job);
        }
        time_of(line, &["timeStamp", "time", "created"])
            .is_none_or(|at| self.from <= at && self.to.is_none_or(|to| at <= to))
    }
}

fn time_of(value: &Value, names: &[&str]) -> Option<Timestamp> {
    text(value, names)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_of_other_jobs_and_times_are_of_other_variations() {
        let own = LogWindow::of(&json!({"jobKey": "A", "executionStart": "2026-01-01T10:00:00Z",
            "executionEnd": "2026-01-01T10:01:00Z"}))
        .unwrap();
        for (line, is_own) in [
            (json!({"timeStamp": "2026-01-01T10:00:30.5Z"}), true),
            (json!({"timeStamp": "2026-01-01T11:00:30+01:00"}), true),
            (json!({"timeStamp": "2026-01-01T10:01:01Z"}), true),
            (json!({"timeStamp": "2026-01-01T10:01:30Z"}), false),
            (json!({"timeStamp": "2026-01-01T09:59:30Z"}), false),
            (json!({"timeStamp": "2026-01-01T10:00:30Z", "jobKey": "B"}), false),
            (json!({"timeStamp": "2026-01-01T12:00:00Z", "jobKey": "a"}), true),
            (json!({"message": "no time"}), true),
        ] {
            assert_eq!(own.has(&line), is_own, "{line}");
        }
        let running = LogWindow::of(&json!({"executionStart": "2026-01-01T10:00:00Z"})).unwrap();
        assert!(running.has(&json!({"timeStamp": "2026-01-02T10:00:00Z"})));
        assert!(LogWindow::of(&json!({"executionEnd": "2026-01-01T10:00:00Z"})).is_none());
    }
}
