//! Prints the output of commands: tables for people, JSON for programs, and failures on stderr.
//!
//! Never panics when the reader closes the output (`jackfield events list | head`). Except for line
//! breaks, never prints a control or format character, because texts come from trackers, connectors
//! and unknown senders. JSON output escapes these characters, so that programs read the exact
//! texts.

mod record;

use std::io::Write;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::domain::{is_printable, printable};

use super::client::{Answer, ServerRefusal};
use super::ids::short_id;
use super::ordered::Json;
use record::{members_table, value_text};

/// Maximum length of a text that is shortened for a list, characters. Without this limit, an error
/// that contains the last output of a guest would fill the screen.
const LIST_TEXT_CHARS_MAX: usize = 240;

#[derive(Clone, Copy)]
pub(super) struct Output {
    /// Whether `--json` was given: JSON is printed instead of tables and sentences.
    pub(super) is_json: bool,
}

/// One column of a table: its heading, and a function that returns the text of a row's cell.
pub(super) type Column<R> = (&'static str, fn(&R) -> String);

impl Output {
    /// Prints a list. `items_name` is a plural such as `events`. `split_page` returns the rows of
    /// the answer and the cursor of the next page.
    pub(super) fn print_list<T: DeserializeOwned, R>(
        self,
        answer: &Answer<T>,
        items_name: &str,
        columns: &[Column<R>],
        split_page: impl FnOnce(T) -> (Vec<R>, Option<Uuid>),
    ) -> anyhow::Result<()> {
        if self.is_json {
            print_json(answer.json());
            return Ok(());
        }
        let (rows, next) = split_page(answer.decode()?);
        if rows.is_empty() {
            print(&format!("no {items_name}"));
            return Ok(());
        }
        let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        print(&table(headings, rows.iter().map(|row| cells(columns, row)).collect()));
        if let Some(next) = next {
            eprint(&format!("there are more {items_name}: --cursor {next}"));
        }
        Ok(())
    }

    pub(super) fn print_record(self, record: &impl Serialize) {
        if self.is_json {
            return print_json(record);
        }
        match Json::from_value(record) {
            Json::Members(members) => print(&members_table(&members)),
            other => print(&value_text(&other)),
        }
    }

    /// Prints an error on stderr in one line. If the server recorded an event for the request, the
    /// JSON contains the event's id; without `--json`, a second line contains the command that
    /// shows the event.
    pub(super) fn print_error(self, error: &anyhow::Error) {
        let refused = error.downcast_ref::<ServerRefusal>();
        let event = refused.and_then(|refused| refused.event);
        if self.is_json {
            let problem = refused.map(|refused| &refused.problem);
            let problem = problem.filter(|problem| matches!(problem, Json::Members(_)));
            let status = refused.map(|refused| refused.status);
            eprint_json(&JsonError { error: error_line(error), status, problem, event });
        } else {
            eprint(&format!("error: {}", error_line(error)));
            event.into_iter().for_each(|event| self.print_event_id(event));
        }
    }

    /// Prints on stderr the command that shows an event, or with `--json` the event's id.
    pub(super) fn print_event_id(self, event: Uuid) {
        if self.is_json {
            eprint_json(&serde_json::json!({ "event": event }));
        } else {
            eprint(&format!("event {event}: jackfield events show {}", short_id(event)));
        }
    }

    /// Prints `sentence`, or with `--json` the `answer`: the answer of the server, or the result of
    /// a command that uses no server.
    pub(super) fn print_result(self, sentence: &str, answer: &impl Serialize) {
        if self.is_json { print_json(answer) } else { print(sentence) }
    }
}

pub(super) fn cells<R>(columns: &[Column<R>], row: &R) -> Vec<String> {
    columns.iter().map(|(_, cell)| printable(&cell(row))).collect()
}

pub(super) fn text_or_empty<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

/// Returns a text as one line of at most [`LIST_TEXT_CHARS_MAX`] characters. A text that was cut
/// ends with `…`.
pub(super) fn shortened(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(LIST_TEXT_CHARS_MAX) {
        None => text,
        Some(_) => text.chars().take(LIST_TEXT_CHARS_MAX - 1).chain(['…']).collect(),
    }
}

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

/// Prints lines to stdout. Pass each part that comes from outside through [`printable`] first, so
/// that it cannot begin a new line.
pub(super) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", printable_lines(text));
}

/// Prints lines to stderr, so that programs do not read them on stdout.
pub(super) fn eprint(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable_lines(text));
}

/// An error as it is printed with `--json`.
#[derive(Serialize)]
struct JsonError<'a> {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The problem document (RFC 9457) as the server sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Uuid>,
}

/// Prints JSON to stdout. Unprintable characters are escaped, so a JSON parser reads the exact
/// texts.
pub(super) fn print_json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "{}", printable_json(&text));
}

/// Prints JSON in one line, for programs that read line by line.
pub(super) fn print_json_line(value: &Json) {
    let _ = writeln!(std::io::stdout(), "{}", printable_json(&json_text(value)));
}

fn eprint_json(value: &impl Serialize) {
    let text = serde_json::to_string(value).unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "{}", printable_json(&text));
}

fn json_text(value: &Json) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Formats an error and its causes in one line. Omits a cause whose text the line already contains.
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

/// Formats a text as one line: consecutive white space becomes one space.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Escapes each unprintable character of a JSON text except line breaks. The escaped characters
/// occur only inside the strings of the JSON text.
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_text_is_one_line_without_control_characters() {
        assert_eq!(one_line("a\n  b"), "a b");
        let fits = "ä".repeat(LIST_TEXT_CHARS_MAX);
        assert_eq!(shortened(&fits), fits);
        let cut = shortened(&format!("{fits}ä"));
        assert!(cut.chars().count() == LIST_TEXT_CHARS_MAX && cut.ends_with("ä…"), "{cut}");
        assert_eq!(printable_lines("\u{1b}[2J\n\u{9b}x"), "\\u{1b}[2J\n\\u{9b}x");
        let row = cells(&[("A", |text: &String| text.clone())], &"a\nb\u{1b}".to_owned());
        assert_eq!(row, ["a b\\u{1b}"]);
    }

    #[test]
    fn json_has_the_exact_texts_and_contains_no_control_characters() {
        let value = json!({"\u{9b}k": "\u{1b}[2J\u{7f}\u{202e}\u{e0041}\n ä🙂"});
        let printed = printable_json(&format!("{value:#}"));
        assert!(printed.chars().all(|c| is_printable(c) || c == '\n'), "{printed}");
        assert_eq!(serde_json::from_str::<Value>(&printed).expect("JSON"), value);
    }

    #[test]
    fn an_error_line_contains_the_text_of_each_cause_once() {
        let cause = std::io::Error::other("disk\nfull");
        let error = anyhow::Error::new(cause).context("cannot write x: disk\nfull");
        assert_eq!(error_line(&error.context("no start")), "no start: cannot write x: disk full");
    }
}
