//! Finds the cause of a failed run in the text that the guest printed last on stderr. Never returns
//! a text that is not redacted.
//!
//! Guests print the cause on stderr: a guest in Rust prints a panic, a guest in JavaScript or
//! Python prints an exception with its stack. The end of stderr is stored separately from the log,
//! because the log may be full when the run fails.

use crate::domain::printable;

use super::exception::Exception;

/// If a guest prints more than this number of bytes on stderr, at least this number of the last
/// bytes are stored, and at most twice as many.
const TAIL_BYTES: usize = 16 << 10;
/// Maximum length of the cause of a failure, in characters.
const CAUSE_CHARS_MAX: usize = 300;

/// The message of the panic with which the Python runtime reacts to an exception.
const PYTHON_PANIC: &str = "Python function threw an unexpected exception";

/// The cause of a failure, from the text that the guest printed: redacted, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FailureCause {
    /// The guest threw this exception.
    Threw(String),
    /// The guest printed this text last.
    Printed(String),
}

/// The end of the text that a guest printed on stderr.
#[derive(Default)]
pub(super) struct StderrTail {
    bytes: Vec<u8>,
    is_beginning_dropped: bool,
}

impl StderrTail {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Old bytes are not removed at each write, because removing them moves the other bytes.
        if self.bytes.len() > 2 * TAIL_BYTES {
            self.bytes.drain(..self.bytes.len() - TAIL_BYTES);
            self.is_beginning_dropped = true;
        }
    }

    /// Returns the redacted cause in one line. If the beginning of stderr was dropped, the stored
    /// text may begin within a secret, which redaction then does not find. So the first half of the
    /// text is redacted, but never returned.
    pub(super) fn cause(&self, redact: impl Fn(String) -> String) -> Option<FailureCause> {
        let text = redact(String::from_utf8_lossy(&self.bytes).into_owned());
        let text = match self.is_beginning_dropped {
            true => {
                let half = text.get(text.floor_char_boundary(text.len() / 2)..)?;
                half.split_once('\n')?.1
            }
            false => &text,
        };
        find_cause(text, redact)
    }
}

/// Returns the last panic or exception in a text; otherwise the end of the text. Redacts a
/// JavaScript exception again after its escapes are removed, because an escape may hide a secret.
fn find_cause(text: &str, redact: impl Fn(String) -> String) -> Option<FailureCause> {
    let lines = text.lines().map(str::trim_end);
    let mut lines: Vec<_> =
        lines.filter(|line| !line.is_empty() && !line.starts_with("note: ")).collect();
    // The Python runtime panics after it has printed the exception.
    let python_panic = lines.iter().rposition(|line| line.contains(PYTHON_PANIC));
    if let Some(panic) = python_panic {
        lines.truncate(panic);
        lines.pop_if(|line| line.contains("panicked at "));
    }
    let last_line = |is_match: fn(&str) -> bool| lines.iter().rposition(|line| is_match(line));
    let panic = last_line(|line| line.contains("panicked at "));
    // Without a panic, the cause begins with the last line that is not indented. The indented lines
    // after it are the stack.
    let begin =
        panic.or_else(|| last_line(|line| !line.starts_with([' ', '\t']))).unwrap_or_default();
    let (before, cause) = lines.split_at_checked(begin)?;
    let mut words: Vec<_> = cause.iter().map(|line| line.trim()).collect();
    if let Some(first) = words.first_mut().filter(|_| panic.is_some()) {
        *first = first.find("panicked at ").and_then(|at| first.get(at..)).unwrap_or(first);
    }
    // Python prints the place of an exception before the exception.
    let place = before.iter().rev().take_while(|line| line.starts_with(' '));
    let place = place.map(|line| line.trim()).find(|line| line.starts_with("File \""));
    let place = place.map(|place| place.strip_suffix(',').unwrap_or(place));
    let words = match place.filter(|_| panic.is_none()) {
        Some(place) => format!("{} ({place})", words.join(" ")),
        None => words.join(" "),
    };
    let exception = Exception::from_panic(&words).filter(|_| panic.is_some());
    let is_exception = exception.is_some() || python_panic.is_some();
    let line = printable(&exception.map_or(words, |thrown| redact(thrown.to_one_line())));
    let line = match line.char_indices().nth(CAUSE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    };
    let kind = if is_exception { FailureCause::Threw } else { FailureCause::Printed };
    (!line.is_empty()).then(|| kind(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure_cause_of(text: &str) -> Option<FailureCause> {
        let mut tail = StderrTail::default();
        tail.add(text.as_bytes());
        tail.cause(|text| text)
    }

    fn cause_of(text: &str) -> Option<String> {
        failure_cause_of(text).map(|words| match words {
            FailureCause::Threw(cause) => format!("threw {cause}"),
            FailureCause::Printed(cause) => cause,
        })
    }

    #[test]
    fn the_cause_is_found_in_the_last_output_of_each_language() {
        for (text, expected) in [
            (
                "starting\n\nthread '<unnamed>' (1) panicked at src/lib.rs:88:5:\nno key `x`\n\
                 note: run with `RUST_BACKTRACE=1` environment variable\n",
                "panicked at src/lib.rs:88:5: no key `x`",
            ),
            (
                "old\nTypeError: cannot read property 'foo' of undefined\n    at create \
                 (connector.js:101)\n    at <anonymous> (connector.js:7)\n",
                "TypeError: cannot read property 'foo' of undefined at create (connector.js:101) at \
                 <anonymous> (connector.js:7)",
            ),
            (
                "Traceback (most recent call last):\n  File \"connector.py\", line 3, in create\n    \
                 a.foo()\nAttributeError: no foo\n\nthread '<unnamed>' (1) panicked at \
                 runtime/src/lib.rs:1293:29:\nPython function threw an unexpected exception\n\
                 note: run with `RUST_BACKTRACE=1`\n",
                "threw AttributeError: no foo (File \"connector.py\", line 3, in create)",
            ),
            (
                "thread '<unnamed>' panicked at runtime/src/interpreter.rs:51:31:\nFailed to call \
                 'create': Value(\n    Exception(\n        Exception {\n            message: \
                 Some(\n                \"no \\\"foo\\\" in null\",\n            ),\n            \
                 stack: Some(\n                \"    at create (connector.js:73:16)\\n    at x\",\n",
                "threw no \"foo\" in null at create (connector.js:73:16) at x",
            ),
            ("one\r\ntwo\u{1b}[2J", "two\\u{1b}[2J"),
        ] {
            assert_eq!(cause_of(text).as_deref(), Some(expected));
        }
        for without_cause in ["", "\n \n", "note: nothing"] {
            assert_eq!(cause_of(without_cause), None, "{without_cause:?}");
        }
    }

    #[test]
    fn a_long_cause_is_shortened() {
        let cause = cause_of(&"\u{e4}".repeat(5_000)).expect("a cause");
        assert_eq!(cause.chars().count(), CAUSE_CHARS_MAX + 1);
        assert!(cause.ends_with("\u{e4}…"));
    }

    #[test]
    fn only_the_end_of_stderr_is_stored_and_no_part_of_a_secret_is_shown() {
        let mut tail = StderrTail::default();
        for _ in 0..1_000 {
            tail.add(&[b'x'; 100]);
            assert!(tail.bytes.len() <= 2 * TAIL_BYTES);
        }
        assert_eq!(tail.cause(|text| text), None, "the rest of a cut line is shown");
        tail.add(b"\nthe end: s3cret");
        let redact = |text: String| text.replace("s3cret", "[secret]");
        let printed = |text: &str| Some(FailureCause::Printed(text.to_owned()));
        assert_eq!(tail.cause(redact), printed("the end: [secret]"));
        let escaped = "panicked at x: Exception { message: Some(\"k\\\"ey\") }";
        tail.add(escaped.as_bytes());
        let threw = FailureCause::Threw("[secret]".to_owned());
        assert_eq!(tail.cause(|text| text.replace("k\"ey", "[secret]")), Some(threw));
    }
}
