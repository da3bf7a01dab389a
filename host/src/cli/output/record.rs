//! Formats one record as a table: a row for each member, and a nested table for each list of
//! records that contain only scalars.
//!
//! The tables contain no control characters except line breaks. This module never prints anything.

use serde_json::Value;

use crate::cli::ordered::Json;
use crate::domain::printable;

use super::{json_text, table};

/// Maximum length of a list that is printed in one line, characters. A longer list has one line for
/// each item.
const LIST_LINE_CHARS_MAX: usize = 80;

/// Formats a table of two columns: the name of each member, indented by its depth, and its value.
pub(super) fn members_table(members: &[(String, Json)]) -> String {
    let mut rows = Vec::new();
    add_members(members, 0, &mut rows);
    table(Vec::new(), rows)
}

fn add_members(members: &[(String, Json)], depth: usize, rows: &mut Vec<Vec<String>>) {
    for (name, value) in members {
        add_member(name, value, depth, rows);
    }
}

fn add_member(name: &str, value: &Json, depth: usize, rows: &mut Vec<Vec<String>>) {
    let heading = format!("{}{}", "  ".repeat(depth), printable(name));
    match value {
        Json::Members(members) if !members.is_empty() => {
            rows.push(vec![heading, String::new()]);
            add_members(members, depth + 1, rows);
        }
        Json::List(items) if items.iter().all(is_scalar) => {
            rows.push(vec![heading, value_text(value)])
        }
        Json::List(items) => match records_table(items) {
            Some(table) => rows.push(vec![heading, table]),
            None => {
                for (item, number) in items.iter().zip(1..) {
                    add_member(&format!("{name} {number}"), item, depth, rows);
                }
            }
        },
        _ => rows.push(vec![heading, value_text(value)]),
    }
}

/// Formats a table with a row for each item. Returns `None` unless all items are records of
/// scalars.
fn records_table(items: &[Json]) -> Option<String> {
    let mut records = Vec::new();
    for item in items {
        let Json::Members(members) = item else { return None };
        records.push(members);
    }
    let mut headings: Vec<&String> = Vec::new();
    for (name, value) in records.iter().copied().flatten() {
        if !is_scalar(value) {
            return None;
        }
        if !headings.contains(&name) {
            headings.push(name);
        }
    }
    let member_cell = |record: &[(String, Json)], heading: &String| {
        let member = record.iter().find(|(name, _)| name == heading);
        member.map(|(_, value)| value_text(value)).unwrap_or_default()
    };
    let row = |record: &&Vec<(String, Json)>| {
        headings.iter().map(|heading| member_cell(record, heading)).collect()
    };
    let rows = records.iter().map(row).collect();
    Some(table(headings.iter().map(|name| printable(name)).collect(), rows))
}

fn is_scalar(value: &Json) -> bool {
    matches!(value, Json::Scalar(_))
}

fn list_text(items: &[Json]) -> String {
    let items: Vec<_> = items.iter().map(value_text).collect();
    let line = items.join(", ");
    if line.chars().count() > LIST_LINE_CHARS_MAX { items.join("\n") } else { line }
}

pub(super) fn value_text(value: &Json) -> String {
    match value {
        Json::Scalar(Value::Null) => String::new(),
        Json::Scalar(Value::String(text)) => printable(text),
        Json::Scalar(Value::Bool(value)) => if *value { "yes" } else { "no" }.to_owned(),
        Json::Scalar(other) => other.to_string(),
        Json::List(items) => list_text(items),
        Json::Members(members) if members.is_empty() => String::new(),
        Json::Members(_) => printable(&json_text(value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::output::one_line;

    use super::*;

    fn value_text(value: &Value) -> String {
        super::value_text(&Json::from_value(value))
    }

    fn members_table(json: &str) -> String {
        let Json::Members(members) = Json::parse(json) else { panic!("members") };
        super::members_table(&members)
    }

    #[test]
    fn values_are_readable_and_contain_no_control_characters() {
        assert_eq!(value_text(&json!(["a", "b"])), "a, b");
        let long = "x".repeat(LIST_LINE_CHARS_MAX);
        assert_eq!(value_text(&json!([long, "b"])), format!("{long}\nb"));
        assert_eq!(value_text(&json!("\u{1b}[2J\nx")), "\\u{1b}[2J x");
        assert_eq!(value_text(&json!([{"\u{9b}": "\u{202e}"}])), "{\"\\u{9b}\":\"\\u{202e}\"}");
        assert_eq!(value_text(&json!(null)), "");
        let escaped = json!({"\u{1b}[A": [{"\u{9b}": 1}]}).to_string();
        assert_eq!(members_table(&escaped), "\\u{1b}[A  \\u{9b}\n          1");
    }

    #[test]
    fn every_member_of_a_record_is_printed_in_order() {
        let json = r#"{
            "id": 7,
            "request": {"path": "/defects", "headers": []},
            "runs": [
                {"call": "find", "log": [{"message": "searched", "at_ms": 1}], "usage": {"cpu_ms": 2}},
                {"call": "create", "log": [], "usage": {"cpu_ms": 3}}
            ]
        }"#;
        let text = members_table(json);
        let lines: Vec<_> = text.lines().map(one_line).collect();
        assert_eq!(
            lines,
            [
                "id 7",
                "request",
                "path /defects",
                "headers",
                "runs 1",
                "call find",
                "log message at_ms",
                "searched 1",
                "usage",
                "cpu_ms 2",
                "runs 2",
                "call create",
                "log",
                "usage",
                "cpu_ms 3",
            ],
            "{text}"
        );
    }
}
