//! Reads the log lines of the robot that ran one failed test. Test Manager selects lines only by
//! execution and test case, so lines of other variations are recognised by their job or their time.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::domain::FailedTest;
use crate::report::LOG_LINES_MAX;

use super::client::Client;
use super::json::text_member;
use super::pages::{self, Paging};
use super::parts::{FetchedPart, PartResult, fetch_newest};

/// Maximum number of pages in which lines of one variation are searched for.
const PAGES_MAX: usize = 10;
/// The tolerated difference between the clock of a robot and the clock of Test Manager.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

/// Reads the newest log lines of the robot. `log` fetches the log of the failed test; it is awaited
/// only for a test with a variation.
pub(super) async fn read_robot_logs(
    client: &Client,
    project: &str,
    test: &FailedTest,
    log: impl Future<Output = PartResult>,
) -> PartResult {
    let (execution, case) = (test.test_execution_id.to_string(), test.test_case_id.to_string());
    let path = [project, "orchestrator", "testexecution", &execution, "robotlogs", "paged"];
    let query = [("orderBy", "Timestamp desc"), ("testcaseid", case.as_str())];
    if test.variation_id().is_none() {
        return fetch_newest(client, &path, &query, LOG_LINES_MAX).await;
    }
    if let Some(window) = log.await.ok().and_then(|log| LogWindow::from_log(&log.value)) {
        let found = read_lines_of_log(client, &path, &query, &window).await?;
        // If no line is found, the clocks of the robot and of Test Manager probably differ too
        // much: read the newest lines of all variations.
        if found.value.as_array().is_some_and(|lines| !lines.is_empty()) {
            return Ok(found);
        }
    }
    let mut found = fetch_newest(client, &path, &query, LOG_LINES_MAX).await?;
    found.note = Some("it contains lines of all variations of the test case".to_owned());
    Ok(found)
}

/// Reads the newest lines that belong to one test case log.
async fn read_lines_of_log(
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
    window: &LogWindow,
) -> PartResult {
    let paging = Paging {
        page_items: LOG_LINES_MAX,
        pages_max: PAGES_MAX,
        is_kept: |line: &Value| window.contains(line),
        is_enough: |lines: &[Value]| lines.len() > LOG_LINES_MAX,
    };
    let mut found = FetchedPart::from(pages::read_pages(client, path, query, paging).await?);
    let lines = found.value.as_array_mut().map_or(0, |lines| {
        let count = lines.len();
        lines.truncate(LOG_LINES_MAX);
        count
    });
    if lines > LOG_LINES_MAX {
        found.note = Some(format!("only the newest {LOG_LINES_MAX} are listed"));
    }
    Ok(found)
}

/// The job and the time window of one test case log, which show which lines belong to the log.
struct LogWindow {
    /// The key of the robot's job; `None` if the log does not contain it.
    job: Option<String>,
    /// The start of the test, minus [`CLOCK_TOLERANCE`].
    from: Timestamp,
    /// The end of the test, plus [`CLOCK_TOLERANCE`]; `None` if the log has no end time.
    to: Option<Timestamp>,
}

impl LogWindow {
    /// Reads the window from a log; `None` if the log has no start time.
    fn from_log(log: &Value) -> Option<Self> {
        let job = text_member(log, &["jobKey"]);
        let from = time_member(log, &["executionStart"])?.checked_sub(CLOCK_TOLERANCE).ok()?;
        let to = time_member(log, &["executionEnd", "executionFinished"]);
        let to = to.and_then(|to| to.checked_add(CLOCK_TOLERANCE).ok());
        Some(Self { job, from, to })
    }

    /// Whether the line belongs to this log. Compares the jobs, if both are known, or else the
    /// times. If the times are compared, a line without a valid time belongs to this log.
    fn contains(&self, line: &Value) -> bool {
        if let (Some(own_job), Some(job)) = (&self.job, text_member(line, &["jobKey"])) {
            return own_job.eq_ignore_ascii_case(&job);
        }
        time_member(line, &["timeStamp", "time", "created"])
            .is_none_or(|at| self.from <= at && self.to.is_none_or(|to| at <= to))
    }
}

fn time_member(value: &Value, names: &[&str]) -> Option<Timestamp> {
    text_member(value, names)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_of_other_jobs_or_times_are_not_in_the_window() {
        let window =
            LogWindow::from_log(&json!({"jobKey": "A", "executionStart": "2026-01-01T10:00:00Z",
            "executionEnd": "2026-01-01T10:01:00Z"}))
            .unwrap();
        for (line, is_in_window) in [
            (json!({"timeStamp": "2026-01-01T10:00:30.5Z"}), true),
            (json!({"timeStamp": "2026-01-01T11:00:30+01:00"}), true),
            (json!({"timeStamp": "2026-01-01T10:01:01Z"}), true),
            (json!({"timeStamp": "2026-01-01T10:01:30Z"}), false),
            (json!({"timeStamp": "2026-01-01T09:59:30Z"}), false),
            (json!({"timeStamp": "2026-01-01T10:00:30Z", "jobKey": "B"}), false),
            (json!({"timeStamp": "2026-01-01T12:00:00Z", "jobKey": "a"}), true),
            (json!({"message": "no time"}), true),
        ] {
            assert_eq!(window.contains(&line), is_in_window, "{line}");
        }
        let running =
            LogWindow::from_log(&json!({"executionStart": "2026-01-01T10:00:00Z"})).unwrap();
        assert!(running.contains(&json!({"timeStamp": "2026-01-02T10:00:00Z"})));
        assert!(LogWindow::from_log(&json!({"executionEnd": "2026-01-01T10:00:00Z"})).is_none());
    }
}
