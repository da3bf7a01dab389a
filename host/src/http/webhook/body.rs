//! A webhook's body: reads it up to its limit, and parses Create Defect's JSON into a failed test.
//!
//! Every error names the member and what was found; nothing is guessed.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::{FailedTest, printable};
use crate::http::problem::Problem;

/// Most bytes of a webhook's body.
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
    /// Its first bytes, up to the limit.
    pub(super) bytes: Bytes,
    /// Why it is not complete.
    truncation: Option<Truncation>,
}

#[derive(Debug)]
enum Truncation {
    TooLarge,
    Broken(String),
}

/// Reads up to the limit; never fails, so that an incomplete body can be recorded.
pub(crate) async fn read(body: Body) -> ReadBody {
    read_within(body, BODY_TIMEOUT).await
}

async fn read_within(body: Body, timeout: Duration) -> ReadBody {
    let mut bytes = BytesMut::new();
    let truncation = match tokio::time::timeout(timeout, collect(body, &mut bytes)).await {
        Ok(truncation) => truncation,
        Err(_) => {
            Some(Truncation::Broken(format!("it was not complete after {} s", timeout.as_secs())))
        }
    };
    ReadBody { bytes: bytes.freeze(), truncation }
}

async fn collect(mut body: Body, bytes: &mut BytesMut) -> Option<Truncation> {
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Some(Truncation::Broken(error.to_string())),
        };
        let Ok(data) = frame.into_data() else { continue };
        let room = BODY_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&data.slice(..data.len().min(room)));
        if data.len() > room {
            return Some(Truncation::TooLarge);
        }
    }
    None
}

impl ReadBody {
    /// Whether the body is empty, or an empty JSON object.
    pub(super) fn is_empty(&self) -> bool {
        let text = without_bom(&self.bytes);
        let empty_object =
            || serde_json::from_slice::<Map<String, Value>>(text).is_ok_and(|m| m.is_empty());
        self.truncation.is_none() && (text.trim_ascii().is_empty() || empty_object())
    }

    /// The failed test that a Create Defect is about.
    pub(crate) fn failed_test(&self, headers: &HeaderMap) -> Result<FailedTest, Problem> {
        match &self.truncation {
            Some(Truncation::TooLarge) => {
                return Err(Problem::payload_too_large(BODY_BYTES_MAX / 1024));
            }
            Some(Truncation::Broken(why)) => {
                return Err(Problem::bad_request(format!("the body is not complete: {why}")));
            }
            None => {}
        }
        if let Some(found) = other_content_type(headers) {
            return Err(Problem::unsupported_media_type(&found));
        }
        failed_test(&self.bytes).map_err(Problem::bad_request)
    }
}

/// The content type, where it is not JSON; a missing one counts as JSON.
fn other_content_type(headers: &HeaderMap) -> Option<String> {
    let given = String::from_utf8_lossy(headers.get(CONTENT_TYPE)?.as_bytes()).into_owned();
    let kind = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = matches!(kind.as_str(), "" | "application/json" | "text/json")
        || (kind.starts_with("application/") && kind.ends_with("+json"));
    (!is_json).then_some(given)
}

/// .NET clients may begin a text with a byte order mark.
fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

fn failed_test(bytes: &[u8]) -> Result<FailedTest, String> {
    let body: Value = serde_json::from_slice(without_bom(bytes))
        .map_err(|error| format!("the body is not JSON: {error}"))?;
    let Value::Object(members) = body else {
        return Err(format!("the body must be a JSON object, found {}", found(&body)));
    };
    Ok(FailedTest::new(
        uuid(&members, "testExecutionId")?,
        uuid(&members, "testCaseId")?,
        text(&members, "variationId", VARIATION_BYTES_MAX)?,
        text(&members, "linkToTestCaseLog", LINK_BYTES_MAX)?,
    ))
}

fn uuid(members: &Map<String, Value>, name: &str) -> Result<Uuid, String> {
    let Some(value) = members.get(name) else { return Err(format!("`{name}` is missing")) };
    let parsed = value.as_str().and_then(|text| Uuid::parse_str(text.trim()).ok());
    parsed.ok_or_else(|| format!("`{name}` must be a uuid, found {}", found(value)))
}

/// A text that is stored in a defect's row and never deleted.
fn text(
    members: &Map<String, Value>,
    name: &str,
    bytes_max: usize,
) -> Result<Option<String>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > bytes_max => {
            Err(format!("`{name}` has {} bytes; at most {bytes_max} are allowed", text.len()))
        }
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(value) => Err(format!("`{name}` must be a text or null, found {}", found(value))),
    }
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
        failed_test(body.to_string().as_bytes())
    }

    #[test]
    fn a_missing_null_or_empty_variation_is_the_same_failed_test() {
        let plain = parsed(|_| {}).unwrap();
        assert_eq!(parsed(|b| b["variationId"] = Value::Null).unwrap(), plain);
        assert_eq!(parsed(|b| b["variationId"] = json!("")).unwrap(), plain);
        assert_eq!(parsed(|b| b["new"] = json!([1])).unwrap(), plain);
        assert_eq!(parsed(|b| b["testCaseId"] = json!(CASE.to_lowercase())).unwrap(), plain);
        let whole =
            format!("\u{feff}{}", json!({"testExecutionId": EXECUTION, "testCaseId": CASE}));
        assert_eq!(failed_test(whole.as_bytes()).unwrap(), plain);
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
            assert!(failed_test(body.as_bytes()).is_err(), "{body:.20}");
        }
        assert!(failed_test(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn every_json_media_type_is_accepted_and_no_other() {
        let other = |kind: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            other_content_type(&headers).is_some()
        };
        for kind in ["application/json; charset=utf-8", "text/json", "application/x+json", ""] {
            assert!(!other(kind), "{kind}");
        }
        assert!(other_content_type(&HeaderMap::new()).is_none());
        for kind in ["text/plain", "application/xml", "multipart/form-data; boundary=x"] {
            assert!(other(kind), "{kind}");
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_in_time_is_incomplete() {
        let (_sender, receiver) = tokio::io::duplex(1);
        let endless = futures_util::stream::unfold(receiver, async |mut receiver| {
            let read = tokio::io::AsyncReadExt::read_u8(&mut receiver).await;
            read.ok().map(|byte| (Ok::<_, std::io::Error>(vec![byte]), receiver))
        });
        let body = read_within(Body::from_stream(endless), Duration::from_millis(50)).await;
        let why = body.failed_test(&HeaderMap::new()).unwrap_err().outcome().detail;
        assert!(why.contains("not complete"), "{why}");
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let fits = read(Body::from(vec![b' '; BODY_BYTES_MAX])).await;
        assert!(fits.truncation.is_none() && fits.is_empty());
        let over = read(Body::from(vec![b' '; BODY_BYTES_MAX + 1])).await;
        assert_eq!(over.bytes.len(), BODY_BYTES_MAX);
        assert_eq!(
            over.failed_test(&HeaderMap::new()).unwrap_err(),
            Problem::payload_too_large(64)
        );
    }
}
