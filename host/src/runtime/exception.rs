//! An exception that ended a run of JavaScript. The engine prints it as a record of Rust within a
//! panic of its own; the author of a connector needs only its message and its stack.

use crate::domain::LogLine;

use super::run_log::STDERR;

/// The last line of a panic.
const PANIC_END: &str = "note: run with `RUST_BACKTRACE=1`";

pub(super) struct Exception {
    message: String,
    stack: String,
}

impl Exception {
    /// The exception in the text of a panic.
    pub(super) fn in_panic(text: &str) -> Option<Self> {
        let (_, record) = text.split_once("Exception {")?;
        let message = member(record, "message: Some(")?;
        Some(Self { message, stack: member(record, "stack: Some(").unwrap_or_default() })
    }

    /// The message and the stack in one line.
    pub(super) fn in_one_line(&self) -> String {
        let words = self.message.split_whitespace().chain(self.stack.split_whitespace());
        words.collect::<Vec<_>>().join(" ")
    }
}

/// The text of a member, which is printed as a literal of Rust.
fn member(record: &str, name: &str) -> Option<String> {
    let (_, text) = record.split_once(name)?;
    let mut characters = text.trim_start().strip_prefix('"')?.chars();
    let mut member = String::new();
    loop {
        match characters.next()? {
            '"' => return Some(member),
            '\\' => match characters.next()? {
                'n' => member.push('\n'),
                't' => member.push('\t'),
                'r' => {}
                // A control character stays escaped.
                escaped @ ('u' | '0') => member.extend(['\\', escaped]),
                escaped => member.push(escaped),
            },
            c => member.push(c),
        }
    }
}

/// Replaces the engine's panic at the end of a log by the exception: its message, and a line for
/// each frame of its stack. A panic that the log does not have as a whole stays.
pub(super) fn without_panic(mut log: Vec<LogLine>) -> Vec<LogLine> {
    let is_panic = |line: &LogLine| line.level == STDERR && line.message.contains("panicked at ");
    let (Some(begin), Some(end)) = (log.iter().rposition(is_panic), log.last()) else {
        return log;
    };
    let (at_ms, is_whole) = (end.at_ms, end.message.starts_with(PANIC_END));
    let panic = log.iter().skip(begin).map(|line| &*line.message).collect::<Vec<_>>().join("\n");
    let Some(exception) = Exception::in_panic(&panic).filter(|_| is_whole) else { return log };
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

    fn shown(lines: &[&str]) -> Vec<String> {
        let line = |text: &&str| LogLine { at_ms: 1, level: STDERR, message: (*text).to_owned() };
        let log = without_panic(lines.iter().map(line).collect());
        log.into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn the_log_has_the_exception_and_no_panic() {
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
        assert_eq!(shown(&panic), expected);
        let cut = panic.get(..5).expect("lines");
        assert_eq!(shown(cut), cut, "a panic that is not whole");
        let other = ["thread panicked at src/lib.rs:88:5:", "no key", PANIC_END];
        assert_eq!(shown(&other), other);
        assert_eq!(shown(&[]), Vec::<String>::new());
    }
}
