//! Adds the filters `date`, `pretty` and `truncate` to those of minijinja.

use jiff::Timestamp;
use minijinja::{Environment, Value};

pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("date", date);
    environment.add_filter("pretty", pretty);
    environment.add_filter("truncate", truncate);
}

/// Formats an RFC 3339 time for people, in UTC; returns any other text unchanged.
fn date(text: Value) -> Value {
    let time = text.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    time.map_or(text, |time| Value::from(time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()))
}

/// Adds line breaks to a JSON text; returns any other text unchanged.
fn pretty(text: Value) -> Value {
    let json = text.as_str().and_then(|it| serde_json::from_str::<serde_json::Value>(it).ok());
    let pretty = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
    pretty.map_or(text, Value::from)
}

/// Cuts a text to a number of characters; a text that was cut ends with an ellipsis.
fn truncate(text: Value, characters_max: usize) -> Value {
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
    fn filters_change_what_they_are_for_and_nothing_else() {
        let text = |value: Value| value.to_string();
        let at = |time| text(date(Value::from(time)));
        assert_eq!(at("2026-11-28T15:04:05.678+01:00"), "2026-11-28 14:04:05 UTC");
        assert_eq!(at("yesterday"), "yesterday");
        assert_eq!(text(pretty(Value::from("{\"a\":1}"))), "{\n  \"a\": 1\n}");
        assert_eq!(text(pretty(Value::from("a=1"))), "a=1");
        assert_eq!(text(truncate(Value::from("äöü"), 2)), "ä…");
        assert_eq!(text(truncate(Value::from("äöü"), 3)), "äöü");
        assert!(date(Value::UNDEFINED).is_undefined());
    }
}
