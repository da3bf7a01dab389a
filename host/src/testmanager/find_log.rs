//! Finds the log of a failed test among the logs of its execution. The logs must be searched,
//! because no request of the API selects a log by execution, test case and variation. This module
//! never returns the log of another variation.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::FailedTest;

use super::client::Client;
use super::failure::Failure;
use super::json::{boolean_member, find_member, text_member};
use super::pages::{self, ListItems, Paging};
use super::parts::FetchedPart;

const PAGE_LOGS: usize = 200;
/// Maximum number of pages of logs that are read for one list: at most 20,000 logs.
const PAGES_MAX: usize = 100;

/// Finds the log of a failed test. Searches the failed logs first, and then all logs, because a
/// person may have changed the result of the test.
pub(super) async fn find_log(
    client: &Client,
    project: &str,
    test: &FailedTest,
) -> Result<FetchedPart, Failure> {
    let client = &client.client_for_search()?;
    let mut logs_of_case = Vec::new();
    for query in [&[("onlyFailed", "true")][..], &[]] {
        let ListItems { items, note } = read_logs(client, project, test, query).await?;
        if let Some(found) = choose_log(&items, test) {
            return Ok(found);
        }
        if let Some(note) = note {
            return Err(Failure::Other(format!(
                "the log was not found when the search stopped: {note}"
            )));
        }
        logs_of_case = items;
    }
    Err(Failure::Other(mismatch_reason(&logs_of_case, test)))
}

/// Reads the logs of the test case. Stops after the first page that contains a log of the test's
/// variation.
async fn read_logs(
    client: &Client,
    project: &str,
    test: &FailedTest,
    query: &[(&str, &str)],
) -> Result<ListItems, Failure> {
    let execution = test.test_execution_id.to_string();
    let path = [project, "testcaselogs", "testexecution", execution.as_str(), "paged"];
    let paging = Paging {
        page_items: PAGE_LOGS,
        pages_max: PAGES_MAX,
        is_kept: |log: &Value| belongs_to_test_case(log, test),
        is_enough: |logs: &[Value]| logs.iter().any(|log| has_same_variation(log, test)),
    };
    pages::read_pages(client, &path, query, paging).await
}

/// Returns the log of the test's variation. If several logs match, returns the newest one that
/// failed, or else the newest one.
fn choose_log(logs: &[Value], test: &FailedTest) -> Option<FetchedPart> {
    let matches: Vec<_> = logs.iter().filter(|log| has_same_variation(log, test)).collect();
    let newest = matches.iter().max_by_key(|log| (has_failed(log), time_of_log(log)))?;
    let chosen = if has_failed(newest) { "newest one that failed" } else { "newest one" };
    let note = (matches.len() > 1)
        .then(|| format!("{} logs match; this is about the {chosen}", matches.len()));
    Some(FetchedPart { value: (*newest).clone(), note })
}

fn mismatch_reason(logs_of_case: &[Value], test: &FailedTest) -> String {
    let variation = test.variation_id().unwrap_or_default();
    match (logs_of_case.len(), variation) {
        (0, _) => "the execution has no log of the test case".to_owned(),
        (count, "") => format!(
            "no log of the test case is without a variation (the execution has {count} logs of the \
             test case with a variation)"
        ),
        (count, _) => format!(
            "no log of the test case is of the variation {variation:?} (the execution has {count} \
             logs of the test case with other variations)"
        ),
    }
}

fn belongs_to_test_case(log: &Value, test: &FailedTest) -> bool {
    let id = text_member(log, &["testCaseId"]);
    let id = id.or_else(|| text_member(find_member(log, &["testCase"])?, &["id"]));
    id.is_some_and(|id| id.parse() == Ok(test.test_case_id))
}

fn has_same_variation(log: &Value, test: &FailedTest) -> bool {
    // Test Manager is a .NET program: it may write a missing id as a UUID of zeros.
    let is_id = |id: &String| id.parse() != Ok(Uuid::nil());
    let log_variation = text_member(log, &["variationId"]).filter(is_id);
    match (log_variation.as_deref(), test.variation_id()) {
        (None, None) => true,
        (Some(log_variation), Some(test_variation)) => {
            let ids = (log_variation.parse::<Uuid>(), test_variation.parse::<Uuid>());
            log_variation == test_variation
                || matches!(ids, (Ok(log_id), Ok(test_id)) if log_id == test_id)
        }
        _ => false,
    }
}

fn has_failed(log: &Value) -> bool {
    text_member(log, &["result"]).is_some_and(|result| result.eq_ignore_ascii_case("failed"))
        || boolean_member(log, &["hasError"]) == Some(true)
}

/// Returns the end of the test, or else its start, or else the time of the log's last change.
fn time_of_log(log: &Value) -> Option<Timestamp> {
    ["executionEnd", "executionStart", "updated"]
        .iter()
        .find_map(|name| text_member(log, &[name])?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failed_test(variation: Option<&str>) -> FailedTest {
        let variation = variation.map(str::to_owned);
        FailedTest::new(Uuid::from_u128(1), Uuid::from_u128(0xA), variation, None)
    }

    /// Returns the id of the chosen log, and whether there is a note about the choice.
    fn chosen_log(logs: &Value, variation: Option<&str>) -> Option<(String, bool)> {
        let found = choose_log(logs.as_array().unwrap(), &failed_test(variation))?;
        Some((found.value["id"].as_str().unwrap().to_owned(), found.note.is_some()))
    }

    #[test]
    fn a_log_is_chosen_by_its_variation() {
        let logs = json!([
            {"id": "none", "variationId": null},
            {"id": "row", "variationId": "Row 7"},
            {"id": "uuid", "variationId": "AAAAAAAA-0000-0000-0000-000000000001"},
        ]);
        let uuid = "aaaaaaaa-0000-0000-0000-000000000001";
        for (variation, found) in [
            (None, Some("none")),
            (Some("Row 7"), Some("row")),
            (Some("row 7"), None),
            (Some(uuid), Some("uuid")),
        ] {
            let found = found.map(|id| (id.to_owned(), false));
            assert_eq!(chosen_log(&logs, variation), found, "{variation:?}");
        }
        for none in ["", "00000000-0000-0000-0000-000000000000"] {
            assert!(
                chosen_log(&json!([{"id": "1", "variationId": none}]), None).is_some(),
                "{none}"
            );
        }
        assert!(mismatch_reason(&[json!({})], &failed_test(Some("x"))).contains("variation \"x\""));
    }

    #[test]
    fn the_newest_failed_log_of_several_is_chosen() {
        let logs = json!([
            {"id": "old", "result": "Failed", "executionEnd": "2026-01-01T00:00:00Z"},
            {"id": "newest", "result": "Passed", "executionEnd": "2026-01-03T00:00:00Z"},
            {"id": "failed", "Result": "failed", "executionEnd": "2026-01-02T00:00:00.5+01:00"},
            {"id": "undated", "hasError": true},
        ]);
        assert_eq!(chosen_log(&logs, None), Some(("failed".to_owned(), true)));
    }

    #[test]
    fn the_id_of_the_test_case_may_be_in_a_nested_object() {
        let id = "00000000-0000-0000-0000-00000000000A";
        assert!(belongs_to_test_case(&json!({"testCaseId": id}), &failed_test(None)));
        assert!(belongs_to_test_case(&json!({"testCase": {"id": id}}), &failed_test(None)));
        assert!(!belongs_to_test_case(&json!({"testCaseId": "x"}), &failed_test(None)));
        assert!(!belongs_to_test_case(&json!(null), &failed_test(None)));
    }
}
