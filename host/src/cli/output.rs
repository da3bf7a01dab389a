//! What commands print: tables for people, JSON for programs, one line for a failure.
//!
//! Never panics when nobody reads any more (`jackfield events list | head`).

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// How the answer is wanted.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub(super) json: bool,
}

/// One column: its heading and where its value lies (a JSON pointer).
pub(super) type Column = (&'static str, &'static str);

impl Output {
    /// A list that stands under `key` of the answer.
    pub(super) fn list(self, answer: &Value, key: &str, columns: &[Column]) {
        if self.json {
            return say_json(answer);
        }
        let rows = answer.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if rows.is_empty() {
            return say(&format!("no {key}"));
        }
        let headings = columns.iter().map(|(heading, _)| (*heading).to_owned());
        let cells = |row: &Value| {
            columns.iter().map(|(_, at)| cell(row.pointer(at).unwrap_or(&Value::Null))).collect()
        };
        say(&table(headings.collect(), rows.iter().map(cells).collect()));
        if let Some(next) = answer.get("next").and_then(Value::as_str) {
            remark(&format!("there are more: --cursor {next}"));
        }
    }

    /// One thing, all its members.
    pub(super) fn one(self, thing: &Value) {
        if self.json {
            return say_json(thing);
        }
        match thing.as_object() {
            Some(members) => {
                let row = |(name, value): (&String, &Value)| vec![name.clone(), cell(value)];
                say(&table(Vec::new(), members.iter().map(row).collect()));
            }
            None => say(&cell(thing)),
        }
    }

    /// A sentence for people, the answer for programs.
    pub(super) fn done(self, sentence: &str, answer: &Value) {
        if self.json { say_json(answer) } else { say(sentence) }
    }
}

/// A table with these headings (or none) and rows.
pub(super) fn table(headings: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !headings.is_empty() {
        table.set_header(headings);
    }
    table.add_rows(rows);
    table.trim_fmt()
}

/// A line on stdout.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on stderr, for people who read stdout by a program.
pub(super) fn remark(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The one line that a failure leaves.
pub(super) fn complain(error: &anyhow::Error) {
    remark(&format!("error: {}", one_line(&format!("{error:#}"))));
}

/// Any text as one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn say_json(value: &Value) {
    say(&format!("{value:#}"));
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        Value::Array(_) | Value::Object(_) => format!("{value:#}"),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
    }
}

/// Texts come from trackers and connectors: what would steer the terminal is shown as a mark.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_are_for_people_and_cannot_steer_a_terminal() {
        assert_eq!(cell(&json!(["a", "b"])), "a, b");
        assert_eq!(cell(&json!("\u{1b}[2Jx")), "\u{fffd}[2Jx");
        assert_eq!(cell(&json!(null)), "");
        assert_eq!(one_line("a\n  b"), "a b");
    }
}
