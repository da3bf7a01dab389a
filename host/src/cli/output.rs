//! What commands print: tables for people, JSON for programs, one line on stderr for a failure.
//!
//! Never panics when the reader closes the output (`jackfield events list | head`). Never prints a
//! control or format character, because texts come from trackers, connectors and unknown senders.
//! JSON output escapes these characters, so that programs read the exact texts.

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{is_printable, printable};

use super::client::{Answer, Refused};
use super::ids::short_id;
use super::ordered::Json;

/// Maximum length of a list that is printed in one line.
const LIST_LINE_CHARS_MAX: usize = 80;

/// Maximum length of a text in a table with a row per item: an error with what a guest printed last.
/// `--json` and `show` have all of it.
const TEXT_CHARS_MAX: usize = 240;

/// How to print an answer.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub(super) json: bool,
}

/// One column of a table: its heading, and the cell of a row.
pub(super) type Column<R> = (&'static str, fn(&R) -> String);

impl Output {
    /// Prints a list; `what` names its items. `page` returns the rows of the answer and the cursor
    /// of the next page.
    pub(super) fn print_list<T: DeserializeOwned, R>(
        self,
        answer: &Answer<T>,
        what: &str,
        columns: &[Column<R>],
        page: impl FnOnce(T) -> (Vec<R>, Option<Uuid>),
    ) -> anyhow::Result<()> {
        if self.json {
            print_json(answer.json());
            return Ok(());
        }
        let (rows, next) = page(answer.decode()?);
        if rows.is_empty() {
            print(&format!("no {what}"));
            return Ok(());
        }
        let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        print(&table(headings, rows.iter().map(|row| cells(columns, row)).collect()));
        if let Some(next) = next {
            eprint(&format!("there are more {what}: --cursor {next}"));
        }
        Ok(())
    }

    /// Prints one record with all its members.
    pub(super) fn print_record(self, thing: &impl Serialize) {
        if self.json {
            return print_json(thing);
        }
        match Json::of(thing) {
            Json::Members(members) => print(&members_table(&members)),
            other => print(&cell(&other)),
        }
    }

    /// Prints an error on stderr in one line, and where its event is shown.
    pub(super) fn print_error(self, error: &anyhow::Error) {
        let refused = error.downcast_ref::<Refused>();
        let event = refused.and_then(|refused| refused.event);
        if self.json {
            let problem = refused.map(|refused| &refused.problem);
            let problem = problem.filter(|problem| matches!(problem, Json::Members(_)));
            let status = refused.map(|refused| refused.status);
            eprint_json(&Failure { error: error_line(error), status, problem, event });
        } else {
            eprint(&format!("error: {}", error_line(error)));
            event.into_iter().for_each(|event| self.print_event_id(event));
        }
    }

    /// Prints on stderr where an event is shown, or with `--json` its id.
    pub(super) fn print_event_id(self, event: Uuid) {
        if self.json {
            eprint_json(&serde_json::json!({ "event": event }));
        } else {
            eprint(&format!("event {event}: jackfield events show {}", short_id(event)));
        }
    }

    /// Prints the sentence, or with `--json` the answer.
    pub(super) fn print_result(self, sentence: &str, answer: &impl Serialize) {
        if self.json { print_json(answer) } else { print(sentence) }
    }
}

/// The cells of one row.
pub(super) fn cells<R>(columns: &[Column<R>], row: &R) -> Vec<String> {
    columns.iter().map(|(_, cell)| printable(&cell(row))).collect()
}

/// The text of a cell whose value may be missing.
pub(super) fn optional<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

/// The beginning of a text, with a mark where it was cut.
pub(super) fn shortened(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        None => text,
        Some(_) => text.chars().take(TEXT_CHARS_MAX - 1).chain(['…']).collect(),
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
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Prints lines to stdout. A text from outside must pass through [`printable`] before it is
/// inserted here: otherwise a line break in that text begins a new line.
pub(super) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", printable_lines(text));
}

/// Prints lines to stderr, so that programs do not read them on stdout.
pub(super) fn eprint(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable_lines(text));
}

/// An error as JSON.
#[derive(Serialize)]
struct Failure<'a> {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The problem as the server sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Uuid>,
}

/// Prints JSON with the exact texts.
pub(super) fn print_json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "{}", printable_json(&text));
}

/// Prints JSON in one line, for programs that read line by line.
pub(super) fn print_json_line(value: &Json) {
    let _ = writeln!(std::io::stdout(), "{}", printable_json(&json_text(value)));
}

/// Prints JSON to stderr in one line.
fn eprint_json(value: &impl Serialize) {
    let text = serde_json::to_string(value).unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "{}", printable_json(&text));
}

fn json_text(value: &Json) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// An error and its causes in one line. An error may already contain the text of its cause.
pub(super) fn error_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for text in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
    }
    one_line(&line)
}

/// Any text as one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// JSON with each unprintable character escaped. Such characters occur only inside its strings.
pub(super) fn printable_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_printable(c) || c == '\n' {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

/// Two columns: the name of each member, indented by its depth, and its value.
fn members_table(members: &[(String, Json)]) -> String {
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
        Json::List(items) if items.iter().all(is_scalar) => rows.push(vec![heading, cell(value)]),
        Json::List(items) => match records_table(items) {
            Some(table) => rows.push(vec![heading, table]),
            None => {
                for (item, number) in items.iter().zip(1..) {
                    add_member(&format!("{name} {number}"), item, depth, rows);
                }
            }
        },
        _ => rows.push(vec![heading, cell(value)]),
    }
}

/// A table of the items, if each is a record of scalars; otherwise `None`.
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
    let value = |record: &[(String, Json)], heading: &String| {
        let member = record.iter().find(|(name, _)| name == heading);
        member.map(|(_, value)| cell(value)).unwrap_or_default()
    };
    let row = |record: &&Vec<(String, Json)>| {
        headings.iter().map(|heading| value(record, heading)).collect()
    };
    let rows = records.iter().map(row).collect();
    Some(table(headings.iter().map(|name| printable(name)).collect(), rows))
}

fn is_scalar(value: &Json) -> bool {
    matches!(value, Json::Scalar(_))
}

/// A short list in one line; a long list with one line per item.
fn list_cell(items: &[Json]) -> String {
    let items: Vec<_> = items.iter().map(cell).collect();
    let line = items.join(", ");
    if line.chars().count() > LIST_LINE_CHARS_MAX { items.join("\n") } else { line }
}

fn cell(value: &Json) -> String {
    match value {
        Json::Scalar(Value::Null) => String::new(),
        Json::Scalar(Value::String(text)) => printable(text),
        Json::Scalar(Value::Bool(yes)) => if *yes { "yes" } else { "no" }.to_owned(),
        Json::Scalar(other) => other.to_string(),
        Json::List(items) => list_cell(items),
        Json::Members(members) if members.is_empty() => String::new(),
        Json::Members(_) => printable(&json_text(value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cell(value: &Value) -> String {
        super::cell(&Json::of(value))
    }

    fn members_table(thing: &str) -> String {
        let Json::Members(members) = Json::read(thing) else { panic!("members") };
        super::members_table(&members)
    }

    #[test]
    fn cells_are_readable_and_contain_no_control_characters() {
        assert_eq!(cell(&json!(["a", "b"])), "a, b");
        let long = "x".repeat(LIST_LINE_CHARS_MAX);
        assert_eq!(cell(&json!([long, "b"])), format!("{long}\nb"));
        assert_eq!(cell(&json!("\u{1b}[2J\nx")), "\\u{1b}[2J x");
        assert_eq!(cell(&json!([{"\u{9b}": "\u{202e}"}])), "{\"\\u{9b}\":\"\\u{202e}\"}");
        assert_eq!(cell(&json!(null)), "");
        assert_eq!(one_line("a\n  b"), "a b");
        let fits = "ä".repeat(TEXT_CHARS_MAX);
        assert_eq!(shortened(&fits), fits);
        let cut = shortened(&format!("{fits}ä"));
        assert!(cut.chars().count() == TEXT_CHARS_MAX && cut.ends_with("ä…"), "{cut}");
        assert_eq!(printable_lines("\u{1b}[2J\n\u{9b}x"), "\\u{1b}[2J\n\\u{9b}x");
        let row = cells(&[("A", |text: &String| text.clone())], &"a\nb\u{1b}".to_owned());
        assert_eq!(row, ["a b\\u{1b}"]);
        let odd = json!({"\u{1b}[A": [{"\u{9b}": 1}]}).to_string();
        assert_eq!(members_table(&odd), "\\u{1b}[A  \\u{9b}\n          1");
    }

    #[test]
    fn json_has_the_exact_texts_and_contains_no_control_characters() {
        let value = json!({"\u{9b}k": "\u{1b}[2J\u{7f}\u{202e}\u{e0041}\n ä🙂"});
        let printed = printable_json(&format!("{value:#}"));
        assert!(printed.chars().all(|c| is_printable(c) || c == '\n'), "{printed}");
        assert_eq!(serde_json::from_str::<Value>(&printed).expect("JSON"), value);
    }

    #[test]
    fn an_error_line_names_each_cause_once() {
        let cause = std::io::Error::other("disk\nfull");
        let error = anyhow::Error::new(cause).context("cannot write x: disk\nfull");
        assert_eq!(error_line(&error.context("no start")), "no start: cannot write x: disk full");
    }

    #[test]
    fn every_member_of_a_record_is_printed_in_order() {
        let thing = r#"{
            "id": 7,
            "request": {"path": "/defects", "headers": []},
            "runs": [
                {"call": "find", "log": [{"message": "searched", "at_ms": 1}], "usage": {"cpu_ms": 2}},
                {"call": "create", "log": [], "usage": {"cpu_ms": 3}}
            ]
        }"#;
        let text = members_table(thing);
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
