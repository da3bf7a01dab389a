//! Finds the log of a failed test among the logs of its execution. No request of the API selects a
//! log by execution, test case and variation.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::FailedTest;

use super::client::Client;
use super::failure::Failure;
use super::json::{flag, member, text};
use super::pages::{self, ListItems, Paging};
use super::parts::FetchedPart;

/// Number of logs that one page has.
const TOP: usize = 200;
/// Maximum number of pages of logs: 20,000 logs.
const PAGES_MAX: usize = 100;

/// Finds the log. Searches first the failed logs, then all logs, because a person may have changed
/// the result.
pub(super) async fn find(
    client: &Client,
    project: &str,
    test: &FailedTest,
) -> Result<FetchedPart, Failure> {
    let client = &client.for_search()?;
    let mut others = Vec::new();
    for query in [&[("onlyFailed", "true")][..], &[]] {
        let ListItems { items, note } = read(client, project, test, query).await?;
        if let Some(found) = choose(&items, test) {
            return Ok(found);
        }
        if let Some(note) = note {
            return Err(Failure::Other(format!("the search stopped without it: {note}")));
        }
        others = items;
    }
    Err(Failure::Other(mismatch(&others, test)))
}

/// Reads the logs of the test case, up to the first page that contains one of the same variation.
async fn read(
    client: &Client,
    project: &str,
    test: &FailedTest,
    query: &[(&str, &str)],
) -> Result<ListItems, Failure> {
    let execution = test.test_execution_id.to_string();
    let path = [project, "testcaselogs", "testexecution", execution.as_str(), "paged"];
    let paging = Paging {
        top: TOP,
        pages_max: PAGES_MAX,
        keep: |log: &Value| is_of_case(log, test),
        enough: |logs: &[Value]| logs.iter().any(|log| is_of_variation(log, test)),
    };
    pages::read(client, &path, query, paging).await
}

/// The log that matches. If several match, the newest one that failed.
fn choose(logs: &[Value], test: &FailedTest) -> Option<FetchedPart> {
    let matches: Vec<_> = logs.iter().filter(|log| is_of_variation(log, test)).collect();
    let newest = matches.iter().max_by_key(|log| (has_failed(log), ended_at(log)))?;
    let note = (matches.len() > 1)
        .then(|| format!("{} logs match; this is about the newest one that failed", matches.len()));
    Some(FetchedPart { value: (*newest).clone(), note })
}

/// The reason why no log matches, for people.
fn mismatch(of_case: &[Value], test: &FailedTest) -> String {
    let wanted = test.variation_id().unwrap_or_default();
    match (of_case.len(), wanted) {
        (0, _) => "the execution has no log of the test case".to_owned(),
        (count, "") => format!(
            "no log of the test case is without a variation (in the execution, {count} have one)"
        ),
        (count, _) => format!(
            "no log of the test case is of the variation {wanted:?} (in the execution, {count} are of \
             others)"
        ),
    }
}

fn is_of_case(log: &Value, test: &FailedTest) -> bool {
    let id = text(log, &["testCaseId"]);
    let id = id.or_else(|| text(member(log, &["testCase"])?, &["id"]));
    id.is_some_and(|id| id.parse() == Ok(test.test_case_id))
}

fn is_of_variation(log: &Value, test: &FailedTest) -> bool {
    // .NET writes a missing id as an id of zeros.
    let is_id = |id: &String| id.parse() != Ok(Uuid::nil());
    let own = text(log, &["variationId"]).filter(is_id);
    match (own.as_deref(), test.variation_id()) {
        (None, None) => true,
        (Some(own), Some(wanted)) => {
            let ids = (own.parse::<Uuid>(), wanted.parse::<Uuid>());
            own == wanted || matches!(ids, (Ok(own), Ok(wanted)) if own == wanted)
        }
        _ => false,
    }
}

fn has_failed(log: &Value) -> bool {
    text(log, &["result"]).is_some_and(|result| result.eq_ignore_ascii_case("failed"))
        || flag(log, &["hasError"]) == Some(true)
}

fn ended_at(log: &Value) -> Option<Timestamp> {
    ["executionEnd", "executionStart", "updated"]
        .iter()
        .find_map(|name| text(log, &[name])?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn test(variation: Option<&str>) -> FailedTest {
        let variation = variation.map(str::to_owned);
        FailedTest::new(Uuid::from_u128(1), Uuid::from_u128(0xA), variation, None)
    }

    fn chosen(logs: &Value, variation: Option<&str>) -> Option<(String, bool)> {
        let found = choose(logs.as_array().unwrap(), &test(variation))?;
        Some((found.value["id"].as_str().unwrap().to_owned(), found.note.is_some()))
    }

    #[test]
    fn the_variation_decides_and_null_is_no_variation() {
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
            assert_eq!(chosen(&logs, variation), found, "{variation:?}");
        }
        for none in ["", "00000000-0000-0000-0000-000000000000"] {
            assert!(chosen(&json!([{"id": "1", "variationId": none}]), None).is_some(), "{none}");
        }
        assert!(mismatch(&[json!({})], &test(Some("x"))).contains("variation \"x\""));
    }

    #[test]
    fn of_several_logs_the_newest_that_failed_is_chosen() {
        let logs = json!([
            {"id": "old", "result": "Failed", "executionEnd": "2026-01-01T00:00:00Z"},
            {"id": "newest", "result": "Passed", "executionEnd": "2026-01-03T00:00:00Z"},
            {"id": "failed", "Result": "failed", "executionEnd": "2026-01-02T00:00:00.5+01:00"},
            {"id": "undated", "hasError": true},
        ]);
        assert_eq!(chosen(&logs, None), Some(("failed".to_owned(), true)));
    }

    #[test]
    fn the_test_case_is_named_by_the_log_or_in_it() {
        let id = "00000000-0000-0000-0000-00000000000A";
        assert!(is_of_case(&json!({"testCaseId": id}), &test(None)));
        assert!(is_of_case(&json!({"testCase": {"id": id}}), &test(None)));
        assert!(!is_of_case(&json!({"testCaseId": "x"}), &test(None)));
        assert!(!is_of_case(&json!(null), &test(None)));
    }
}
