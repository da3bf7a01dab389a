//! A webhook's body: reads it up to its limit, and parses Create Defect's JSON into a failed test.
//!
//! Every error names the member and what was found; nothing is guessed.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::BytesMut;
use http_body_util::BodyExt;
use regex::{Captures, Regex};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::{FailedTest, printable, shortened};
use crate::http::problem::Problem;

use super::decode::{self, Fault};

/// Most bytes of a webhook's body, as it is sent and decompressed.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of a variation's id, and of a link.
const VARIATION_BYTES_MAX: usize = 1024;
const LINK_BYTES_MAX: usize = 4 * 1024;
/// Characters of a wrong value that an error repeats.
const FOUND_MAX: usize = 60;

/// What was read of a body.
#[derive(Debug, Default)]
pub(crate) struct ReadBody {
    /// Its text; where it has a fault, what can be shown of it.
    pub(super) text: String,
    fault: Option<Fault>,
}

/// Reads up to the limit; never fails, so that an incomplete body can be recorded.
pub(crate) async fn read(headers: &HeaderMap, body: Body) -> ReadBody {
    read_within(headers, body, BODY_TIMEOUT).await
}

async fn read_within(headers: &HeaderMap, body: Body, timeout: Duration) -> ReadBody {
    let mut bytes = BytesMut::new();
    let collected = tokio::time::timeout(timeout, collect(body, &mut bytes)).await;
    let fault = collected.unwrap_or_else(|_| {
        let seconds = timeout.as_secs();
        Err(Fault::Broken(format!("the body is not complete after {seconds} s")))
    });
    match fault {
        Ok(()) => {
            let (text, fault) = decode::text(headers, &bytes);
            ReadBody { text, fault }
        }
        Err(fault) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            ReadBody { text, fault: Some(fault) }
        }
    }
}

async fn collect(mut body: Body, bytes: &mut BytesMut) -> Result<(), Fault> {
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Fault::Broken(format!("the body is not complete: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = BODY_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&data.slice(..data.len().min(room)));
        if data.len() > room {
            return Err(Fault::TooLarge);
        }
    }
    Ok(())
}

impl ReadBody {
    /// Whether the body is empty, or an empty JSON object.
    pub(super) fn is_empty(&self) -> bool {
        let is_empty_object =
            || serde_json::from_str::<Map<String, Value>>(&self.text).is_ok_and(|it| it.is_empty());
        self.fault.is_none() && (self.text.trim().is_empty() || is_empty_object())
    }

    /// The failed test that a Create Defect is about.
    pub(crate) fn failed_test(&self, headers: &HeaderMap) -> Result<FailedTest, Problem> {
        match &self.fault {
            Some(Fault::TooLarge) => return Err(Problem::payload_too_large(BODY_BYTES_MAX / 1024)),
            Some(Fault::Broken(why)) => return Err(Problem::bad_request(why)),
            Some(Fault::UnknownEncoding(found)) => {
                let found = shortened(found, 100);
                return Err(Problem::unsupported_media_type(format!(
                    "send the body as it is, or with the content encoding gzip or deflate, not {found:?}"
                )));
            }
            None => {}
        }
        if let Some(found) = other_content_type(headers) {
            return Err(Problem::unsupported_media_type(wrong_content_type(&found)));
        }
        failed_test(&self.text).map_err(Problem::bad_request)
    }
}

/// The content type, where the body cannot be JSON. Senders that do not know better declare JSON as plain
/// text (.NET's `StringContent`) or as bytes, or declare nothing.
fn other_content_type(headers: &HeaderMap) -> Option<String> {
    let given = String::from_utf8_lossy(headers.get(CONTENT_TYPE)?.as_bytes()).into_owned();
    let kind = given.split([';', ',']).next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_possible = match kind.as_str() {
        "" | "application/json" | "text/json" | "application/x-json" | "text/x-json" => true,
        "text/plain" | "application/octet-stream" => true,
        other => other.ends_with("+json"),
    };
    (!is_possible).then_some(given)
}

fn wrong_content_type(found: &str) -> String {
    let hint = if found.trim().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
    {
        ", which curl and PowerShell send unless a content type is given"
    } else {
        ""
    };
    format!("send the JSON as application/json, not as {:?}{hint}", shortened(found, 100))
}

fn failed_test(json: &str) -> Result<FailedTest, String> {
    let body: Value = serde_json::from_str(&without_lone_surrogates(json))
        .map_err(|error| format!("the body is not JSON: {error}"))?;
    let Value::Object(members) = body else {
        return Err(format!("the body must be a JSON object, found {}", found(&body)));
    };
    let variation = text(&members, "variationId", VARIATION_BYTES_MAX)?;
    Ok(FailedTest::new(
        uuid(&members, "testExecutionId")?,
        uuid(&members, "testCaseId")?,
        variation.filter(|id| !is_all_zero(id)),
        text(&members, "linkToTestCaseLog", LINK_BYTES_MAX)?,
    ))
}

/// A surrogate pair, one surrogate alone (group 1), any other escape.
#[expect(clippy::expect_used, reason = "a constant pattern, covered by the tests below")]
static ESCAPE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?xs) \\u[dD][89abAB][[:xdigit:]]{2} \\u[dD][c-fC-F][[:xdigit:]]{2}
        | (\\u[dD][89a-fA-F][[:xdigit:]]{2}) | \\.";
    Regex::new(pattern).expect("a valid pattern")
});

/// JSON with U+FFFD in place of each escape of half a surrogate pair. Senders that work with UTF-16 cut long
/// texts between the halves.
fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    ESCAPE.replace_all(json, |escape: &Captures<'_>| match escape.get(1) {
        Some(_) => r"\ufffd".to_owned(),
        None => escape.get(0).map_or_else(String::new, |whole| whole.as_str().to_owned()),
    })
}

fn uuid(members: &Map<String, Value>, name: &str) -> Result<Uuid, String> {
    let Some(value) = members.get(name) else { return Err(format!("`{name}` is missing")) };
    match value.as_str().and_then(|text| Uuid::parse_str(text.trim()).ok()) {
        Some(id) if id.is_nil() => Err(format!(
            "`{name}` is the all-zero uuid, which stands for a value that is not set: it names no \
             failed test"
        )),
        Some(id) => Ok(id),
        None => Err(format!("`{name}` must be a uuid, found {}", found(value))),
    }
}

/// .NET sends an id that is not set as `Guid.Empty`.
fn is_all_zero(id: &str) -> bool {
    Uuid::parse_str(id.trim()).is_ok_and(|id| id.is_nil())
}

/// A text that is stored in a defect's row and never deleted. Control characters become U+FFFD: many
/// trackers and databases refuse them, and the create would fail there.
fn text(
    members: &Map<String, Value>,
    name: &str,
    bytes_max: usize,
) -> Result<Option<String>, String> {
    let text = match members.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(value) => {
            return Err(format!("`{name}` must be a text or null, found {}", found(value)));
        }
    };
    let is_odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    let text = text.replace(is_odd, "\u{fffd}");
    if text.len() > bytes_max {
        return Err(format!("`{name}` has {} bytes; at most {bytes_max} are allowed", text.len()));
    }
    Ok(Some(text))
}

fn found(value: &Value) -> String {
    let kind = match value {
        Value::Null => return "null".to_owned(),
        Value::Bool(_) => "the boolean ",
        Value::Number(_) => "the number ",
        Value::String(_) => "the text ",
        Value::Array(_) => return "an array".to_owned(),
        Value::Object(_) => return "an object".to_owned(),
    };
    // Escaped first: the limit is that of the characters that are shown.
    let text = printable(&value.to_string());
    let shown: String = text.chars().take(FOUND_MAX).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("{kind}{shown}{rest}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EXECUTION: &str = "550e8400-e29b-41d4-a716-446655440000";
    const CASE: &str = "6BA7B810-9DAD-11D1-80B4-00C04FD430C8";

    fn parsed(change: impl FnOnce(&mut Value)) -> Result<FailedTest, String> {
        let mut body = json!({"testExecutionId": EXECUTION, "testCaseId": CASE});
        change(&mut body);
        failed_test(&body.to_string())
    }

    #[test]
    fn a_missing_null_or_empty_variation_is_the_same_failed_test() {
        let plain = parsed(|_| {}).unwrap();
        assert_eq!(parsed(|b| b["variationId"] = Value::Null).unwrap(), plain);
        assert_eq!(parsed(|b| b["variationId"] = json!("")).unwrap(), plain);
        assert_eq!(parsed(|b| b["new"] = json!([1])).unwrap(), plain);
        assert_eq!(parsed(|b| b["testCaseId"] = json!(CASE.to_lowercase())).unwrap(), plain);
        let empty_guid = json!("{00000000-0000-0000-0000-000000000000}");
        assert_eq!(parsed(|b| b["variationId"] = empty_guid).unwrap(), plain);
    }

    #[test]
    fn an_all_zero_id_names_no_failed_test() {
        for name in ["testExecutionId", "testCaseId"] {
            for zero in [
                "00000000-0000-0000-0000-000000000000",
                " 00000000000000000000000000000000 ",
                "{00000000-0000-0000-0000-000000000000}",
                "urn:uuid:00000000-0000-0000-0000-000000000000",
            ] {
                let why = parsed(|b| b[name] = json!(zero)).unwrap_err();
                assert!(why.contains(name) && why.contains("all-zero"), "{why}");
            }
        }
    }

    #[test]
    fn half_a_surrogate_pair_becomes_a_replacement_character() {
        for (json, read) in [
            (r#"row \ud83d"#, "row \u{fffd}"),
            (r#"\uDE00 row"#, "\u{fffd} row"),
            (r#"\ud83d\ud83d\ude00"#, "\u{fffd}\u{1f600}"),
            (r#"\ude00\ud83d"#, "\u{fffd}\u{fffd}"),
            (r#"\\ud83d \" \\\ud83dx"#, "\\ud83d \" \\\u{fffd}x"),
            (r#"a\u0000b\u001b\u0085\t\n"#, "a\u{fffd}b\u{fffd}\u{fffd}\t\n"),
        ] {
            let body = format!(
                r#"{{"new\ud800":["\udfff"],"testExecutionId":"{EXECUTION}","testCaseId":"{CASE}",
                    "variationId":"{json}"}}"#
            );
            let test = failed_test(&body).unwrap();
            assert_eq!(test.variation_id(), Some(read), "{json}");
        }
        assert!(failed_test(r#"{"a":"\ud8"}"#).is_err());
    }

    #[test]
    fn of_equal_members_the_last_one_counts() {
        let body =
            format!(r#"{{"testCaseId":7,"testExecutionId":"{EXECUTION}","testCaseId":"{CASE}"}}"#);
        assert_eq!(failed_test(&body).unwrap(), parsed(|_| {}).unwrap());
    }

    #[test]
    fn an_error_names_the_member_and_what_was_found() {
        for (name, value, words) in [
            ("testExecutionId", json!(7), "the number 7"),
            ("testExecutionId", Value::Null, "null"),
            ("testCaseId", json!("no uuid"), "no uuid"),
            ("variationId", json!(["a"]), "an array"),
            ("linkToTestCaseLog", json!({"a": 1}), "an object"),
            ("linkToTestCaseLog", json!("x".repeat(5_000)), "4096"),
            ("variationId", json!("x".repeat(1_025)), "1024"),
        ] {
            let why = parsed(|b| b[name] = value).unwrap_err();
            assert!(why.contains(name) && why.contains(words), "{why}");
        }
        let hidden = "\u{e0041}".repeat(60);
        let why = parsed(|b| b["testCaseId"] = json!(hidden)).unwrap_err();
        assert!(why.len() < 120 && why.contains("\\u{e0041}"), "{why}");
        for body in ["", "{", "[]", "null", "{}{}", &"[".repeat(20_000)] {
            assert!(failed_test(body).is_err(), "{body:.20}");
        }
    }

    #[test]
    fn every_media_type_that_may_be_json_is_accepted_and_no_other() {
        let other = |kind: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            other_content_type(&headers).is_some()
        };
        for kind in [
            "application/json; charset=utf-8",
            "Application/JSON, application/json",
            "text/json",
            "application/x+json",
            "text/plain; charset=utf-8",
            "application/octet-stream",
            "",
        ] {
            assert!(!other(kind), "{kind}");
        }
        assert!(other_content_type(&HeaderMap::new()).is_none());
        for kind in ["text/html", "application/xml", "multipart/form-data; boundary=x"] {
            assert!(other(kind), "{kind}");
        }
        let why = wrong_content_type("application/x-www-form-urlencoded; charset=utf-8");
        assert!(why.contains("curl"), "{why}");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_in_time_is_incomplete() {
        let (_sender, receiver) = tokio::io::duplex(1);
        let endless = futures_util::stream::unfold(receiver, async |mut receiver| {
            let read = tokio::io::AsyncReadExt::read_u8(&mut receiver).await;
            read.ok().map(|byte| (Ok::<_, std::io::Error>(vec![byte]), receiver))
        });
        let (none, body) = (HeaderMap::new(), Body::from_stream(endless));
        let body = read_within(&none, body, Duration::from_millis(50)).await;
        let why = body.failed_test(&HeaderMap::new()).unwrap_err().outcome().detail;
        assert!(why.contains("not complete"), "{why}");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let read = async |size| read(&HeaderMap::new(), Body::from(vec![b' '; size])).await;
        let fits = read(BODY_BYTES_MAX).await;
        assert!(fits.fault.is_none() && fits.is_empty());
        let over = read(BODY_BYTES_MAX + 1).await;
        assert_eq!(over.text.len(), BODY_BYTES_MAX);
        assert_eq!(
            over.failed_test(&HeaderMap::new()).unwrap_err(),
            Problem::payload_too_large(64)
        );
    }
}
