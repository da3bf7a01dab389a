//! Adds the template filters `date`, `pretty` and `truncate` to the filters of minijinja. None of
//! the three changes a value that it cannot read.

use jiff::Timestamp;
use minijinja::{Environment, Value};

pub(super) fn add_filters(environment: &mut Environment<'_>) {
    environment.add_filter("date", format_date);
    environment.add_filter("pretty", pretty_json);
    environment.add_filter("truncate", truncate_text);
}

/// Formats an RFC 3339 time for people, in UTC. Returns any other value unchanged.
fn format_date(text: Value) -> Value {
    let time = text.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    time.map_or(text, |time| Value::from(time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()))
}

/// Formats a JSON text with line breaks and indentation, and sorts the members of objects by name.
/// Returns any other value unchanged.
fn pretty_json(text: Value) -> Value {
    let json = text.as_str().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    let pretty = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
    pretty.map_or(text, Value::from)
}

/// Cuts a text that has more than `characters_max` characters to this length, but to no less than 1
/// character. The last character is then an ellipsis. Returns any other value unchanged.
fn truncate_text(text: Value, characters_max: usize) -> Value {
    match text.as_str() {
        Some(long) if long.chars().count() > characters_max => {
            let kept = long.chars().take(characters_max.saturating_sub(1)).collect::<String>();
            Value::from(kept + "…")
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_changes_only_values_that_it_can_read() {
        let text = |value: Value| value.to_string();
        let formatted = |time| text(format_date(Value::from(time)));
        assert_eq!(formatted("2026-11-28T15:04:05.678+01:00"), "2026-11-28 14:04:05 UTC");
        assert_eq!(formatted("yesterday"), "yesterday");
        assert_eq!(text(pretty_json(Value::from("{\"a\":1}"))), "{\n  \"a\": 1\n}");
        assert_eq!(text(pretty_json(Value::from("a=1"))), "a=1");
        assert_eq!(text(truncate_text(Value::from("äöü"), 2)), "ä…");
        assert_eq!(text(truncate_text(Value::from("äöü"), 3)), "äöü");
        assert!(format_date(Value::UNDEFINED).is_undefined());
    }
}
