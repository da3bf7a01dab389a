//! Parses the JSON body of a Create Defect request as a failed test.
//!
//! This module never guesses a value that is missing or wrong.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::{FailedTest, printable};

const USED_MEMBERS: [&str; 4] =
    ["testExecutionId", "testCaseId", "variationId", "linkToTestCaseLog"];
const VARIATION_BYTES_MAX: usize = 1024;
const LINK_BYTES_MAX: usize = 4 * 1024;
/// Maximum number of characters that an error repeats of a wrong value, after it was escaped.
const FOUND_CHARS_MAX: usize = 60;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidBody {
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("the body must be a JSON object")]
    NotAnObject,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{name}` must be {expected}, found {found}")]
    WrongValue { name: &'static str, expected: &'static str, found: String },
    #[error(
        "`{0}` is the all-zero uuid, which means that it has no value: send the id of the failed test"
    )]
    AllZero(&'static str),
    #[error("`{name}` has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLong { name: &'static str, bytes: usize, bytes_max: usize },
}

pub(crate) fn failed_test(json: &str) -> Result<FailedTest, InvalidBody> {
    let UsedMembers(members) =
        serde_json::from_str(&without_lone_surrogates(json)).map_err(|error| {
            if error.is_data() {
                InvalidBody::NotAnObject
            } else {
                InvalidBody::NotJson(error.to_string())
            }
        })?;
    let variation = optional_text(&members, "variationId", VARIATION_BYTES_MAX)?;
    Ok(FailedTest::new(
        required_uuid(&members, "testExecutionId")?,
        required_uuid(&members, "testCaseId")?,
        variation.filter(|id| !is_all_zero(id)),
        optional_text(&members, "linkToTestCaseLog", LINK_BYTES_MAX)?,
    ))
}

/// The members of the body that are used, by name. All other members are skipped, so they may have
/// any value, even a large or deeply nested one.
struct UsedMembers(Map<String, Value>);

impl<'de> Deserialize<'de> for UsedMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UsedMembersVisitor)
    }
}

struct UsedMembersVisitor;

impl<'de> Visitor<'de> for UsedMembersVisitor {
    type Value = UsedMembers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UsedMembers, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if USED_MEMBERS.contains(&name.as_str()) {
                members.insert(name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(UsedMembers(members))
    }
}

/// Matches a backslash with what follows it in JSON: the two escape sequences of a surrogate pair,
/// the one of a lone surrogate (group 1), or the first two characters of any other escape sequence.
/// The last alternative ensures that no match begins at the second backslash of `\\`.
#[expect(clippy::expect_used, reason = "a constant pattern, covered by the tests below")]
static ESCAPE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?xs) \\u[dD][89abAB][[:xdigit:]]{2} \\u[dD][c-fC-F][[:xdigit:]]{2}
        | (\\u[dD][89a-fA-F][[:xdigit:]]{2}) | \\.";
    Regex::new(pattern).expect("a valid pattern")
});

/// Replaces each escape sequence of a lone surrogate by that of U+FFFD. Such escapes arrive because
/// some senders that use UTF-16 truncate long texts in the middle of a surrogate pair.
fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    ESCAPE.replace_all(json, |escape: &Captures<'_>| match escape.get(1) {
        Some(_) => r"\ufffd".to_owned(),
        None => escape.get(0).map_or_else(String::new, |whole| whole.as_str().to_owned()),
    })
}

/// Reads a member that must be a UUID, but not the all-zero UUID.
fn required_uuid(members: &Map<String, Value>, name: &'static str) -> Result<Uuid, InvalidBody> {
    let value = members.get(name).ok_or(InvalidBody::Missing(name))?;
    match value.as_str().and_then(|text| Uuid::parse_str(text.trim()).ok()) {
        Some(id) if id.is_nil() => Err(InvalidBody::AllZero(name)),
        Some(id) => Ok(id),
        None => {
            let found = describe_found(value);
            Err(InvalidBody::WrongValue { name, expected: "a uuid", found })
        }
    }
}

/// Whether an id is the all-zero UUID. .NET sends it (`Guid.Empty`) for an id that is not set.
fn is_all_zero(id: &str) -> bool {
    Uuid::parse_str(id.trim()).is_ok_and(|id| id.is_nil())
}

/// Reads a member that must be a text or null. Control characters, except tabs and line breaks,
/// become U+FFFD, because many trackers and databases refuse them, and the create would fail.
fn optional_text(
    members: &Map<String, Value>,
    name: &'static str,
    bytes_max: usize,
) -> Result<Option<String>, InvalidBody> {
    let text = match members.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(value) => {
            let found = describe_found(value);
            return Err(InvalidBody::WrongValue { name, expected: "a text or null", found });
        }
    };
    let is_control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    let text = text.replace(is_control, "\u{fffd}");
    if text.len() > bytes_max {
        return Err(InvalidBody::TooLong { name, bytes: text.len(), bytes_max });
    }
    Ok(Some(text))
}

/// Describes a wrong value for an error message: its type, and the beginning of the value unless it
/// is an array or an object.
fn describe_found(value: &Value) -> String {
    let kind = match value {
        Value::Null => return "null".to_owned(),
        Value::Bool(_) => "the boolean ",
        Value::Number(_) => "the number ",
        Value::String(_) => "the text ",
        Value::Array(_) => return "an array".to_owned(),
        Value::Object(_) => return "an object".to_owned(),
    };
    // Escape first, because the limit applies to the escaped text.
    let text = printable(&value.to_string());
    let shown: String = text.chars().take(FOUND_CHARS_MAX).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("{kind}{shown}{rest}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EXECUTION: &str = "550e8400-e29b-41d4-a716-446655440000";
    const CASE: &str = "6BA7B810-9DAD-11D1-80B4-00C04FD430C8";

    /// Parses a valid body after `change` has changed it.
    fn parsed(change: impl FnOnce(&mut Value)) -> Result<FailedTest, String> {
        let mut body = json!({"testExecutionId": EXECUTION, "testCaseId": CASE});
        change(&mut body);
        failed_test(&body.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_missing_null_empty_or_all_zero_variation_id_means_the_same_failed_test() {
        let plain = parsed(|_| {}).unwrap();
        assert_eq!(parsed(|b| b["variationId"] = Value::Null).unwrap(), plain);
        assert_eq!(parsed(|b| b["variationId"] = json!("")).unwrap(), plain);
        assert_eq!(parsed(|b| b["new"] = json!([1])).unwrap(), plain);
        assert_eq!(parsed(|b| b["testCaseId"] = json!(CASE.to_lowercase())).unwrap(), plain);
        let empty_guid = json!("{00000000-0000-0000-0000-000000000000}");
        assert_eq!(parsed(|b| b["variationId"] = empty_guid).unwrap(), plain);
    }

    #[test]
    fn a_long_text_is_refused_and_an_error_repeats_only_a_short_value_completely() {
        let variation = |length| parsed(|b| b["variationId"] = json!("x".repeat(length)));
        assert!(variation(VARIATION_BYTES_MAX).is_ok());
        assert!(variation(VARIATION_BYTES_MAX + 1).is_err());
        let why = parsed(|b| b["testCaseId"] = json!("no uuid")).unwrap_err();
        assert!(why.ends_with("found the text \"no uuid\""), "{why}");
        let why = parsed(|b| b["testCaseId"] = json!("x".repeat(FOUND_CHARS_MAX))).unwrap_err();
        assert!(why.ends_with('…'), "{why}");
    }

    #[test]
    fn an_all_zero_id_of_a_test_execution_or_test_case_is_refused() {
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
        for (json, expected) in [
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
            assert_eq!(test.variation_id(), Some(expected), "{json}");
        }
        assert!(failed_test(r#"{"a":"\ud8"}"#).is_err());
    }

    #[test]
    fn an_unknown_member_may_have_any_value() {
        let deep = "[".repeat(1_000) + &"]".repeat(1_000);
        let body = format!(
            r#"{{"n":-1e999,"deep":{deep},"testExecutionId":"{EXECUTION}","testCaseId":"{CASE}"}}"#
        );
        assert_eq!(failed_test(&body).unwrap(), parsed(|_| {}).unwrap());
        let why = failed_test(&json!("x".repeat(9_000)).to_string()).unwrap_err();
        assert_eq!(why, InvalidBody::NotAnObject);
    }

    #[test]
    fn if_a_member_occurs_twice_the_last_value_is_used() {
        let body =
            format!(r#"{{"testCaseId":7,"testExecutionId":"{EXECUTION}","testCaseId":"{CASE}"}}"#);
        assert_eq!(failed_test(&body).unwrap(), parsed(|_| {}).unwrap());
    }

    #[test]
    fn an_error_names_the_member_and_the_value_that_was_found() {
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
}
