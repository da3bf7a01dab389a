//! Finds the JavaScript exception that ended a run. The JavaScript engine prints the exception as a
//! Rust struct within a panic message. Never redacts a text.

use crate::domain::LogLine;

use super::run_log::STDERR;

/// The beginning of the last line of a panic message.
const PANIC_END: &str = "note: run with `RUST_BACKTRACE=1`";

pub(super) struct Exception {
    message: String,
    /// The stack frames, one in each line.
    stack: String,
}

impl Exception {
    pub(super) fn from_panic(text: &str) -> Option<Self> {
        let (_, record) = text.split_once("Exception {")?;
        let message = read_member(record, "message: Some(")?;
        let stack = read_member(record, "stack: Some(").unwrap_or_default();
        Some(Self { message, stack })
    }

    pub(super) fn to_one_line(&self) -> String {
        let words = self.message.split_whitespace().chain(self.stack.split_whitespace());
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Returns the text of a member, which the panic message contains as a Rust string literal.
fn read_member(record: &str, name: &str) -> Option<String> {
    let (_, text) = record.split_once(name)?;
    let mut characters = text.trim_start().strip_prefix('"')?.chars();
    let mut value = String::new();
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => {}
                // A character that is printed as `\u{…}` or `\0` stays escaped.
                escaped @ ('u' | '0') => value.extend(['\\', escaped]),
                escaped => value.push(escaped),
            },
            c => value.push(c),
        }
    }
}

/// If a log ends with a panic of the JavaScript engine, replaces the panic by the exception: its
/// message, and one line for each stack frame. Does not change the log if it contains only a part
/// of the panic.
pub(super) fn replace_panic_by_exception(mut log: Vec<LogLine>) -> Vec<LogLine> {
    let is_panic = |line: &LogLine| line.level == STDERR && line.message.contains("panicked at ");
    let (Some(begin), Some(end)) = (log.iter().rposition(is_panic), log.last()) else {
        return log;
    };
    let (at_ms, is_whole) = (end.at_ms, end.message.starts_with(PANIC_END));
    let panic = log.iter().skip(begin).map(|line| &*line.message).collect::<Vec<_>>().join("\n");
    let Some(exception) = Exception::from_panic(&panic).filter(|_| is_whole) else { return log };
    log.truncate(begin);
    log.pop_if(|line| line.level == STDERR && line.message.is_empty());
    let lines = exception.message.lines().chain(exception.stack.lines());
    let lines = lines.map(str::trim_end).filter(|line| !line.is_empty());
    log.extend(lines.map(|line| LogLine {
        at_ms,
        level: STDERR,
        message: line.replace('\t', " "),
    }));
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages_after_replacement(lines: &[&str]) -> Vec<String> {
        let line = |text: &&str| LogLine { at_ms: 1, level: STDERR, message: (*text).to_owned() };
        let log = replace_panic_by_exception(lines.iter().map(line).collect());
        log.into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn the_log_contains_the_exception_instead_of_the_panic() {
        let panic = [
            "before",
            "",
            "thread '<unnamed>' (1) panicked at crates/runtime/src/interpreter.rs:51:31:",
            "Failed to call 'count': Value(Exception(",
            r#"Exception { message: Some("a \"b\"\nc\u{1b}"), stack: Some("    at x (y.js:8:5)\n    at z") })"#,
            ")",
            "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
        ];
        let expected =
            ["before", "a \"b\"", "c\\u{1b}", "    at x (y.js:8:5)", "    at z"].map(str::to_owned);
        assert_eq!(messages_after_replacement(&panic), expected);
        let cut = panic.get(..5).expect("lines");
        assert_eq!(messages_after_replacement(cut), cut, "a panic whose end is missing");
        let other = ["thread panicked at src/lib.rs:88:5:", "no key", PANIC_END];
        assert_eq!(messages_after_replacement(&other), other);
        assert_eq!(messages_after_replacement(&[]), Vec::<String>::new());
    }
}
