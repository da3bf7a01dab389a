//! The log of one run: the guest's log lines, stdout and stderr, limited in size.
//!
//! The end of stderr is also kept apart, because it says why a guest failed.
//!
//! Never contains a control character, so that a guest cannot send escape sequences to a terminal.

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::{LogLevel, LogLine, milliseconds, printable};

use super::last_words::Tail;

/// The level of lines on stdout.
pub(super) const STDOUT: LogLevel = LogLevel::Info;
/// The level of lines on stderr.
pub(super) const STDERR: LogLevel = LogLevel::Warn;
/// The size that each line counts in addition to its text, bytes, so that the number of lines is
/// limited too.
const LINE_BYTES: u64 = 16;

/// Collects lines up to a number of bytes. Drops further lines, and adds one line that says so.
pub(super) struct RunLog {
    started: Instant,
    bytes_max: u64,
    content: Mutex<Content>,
}

#[derive(Default)]
struct Content {
    lines: Vec<LogLine>,
    bytes: u64,
    full: bool,
    /// The last lines of stdout and stderr, while they have no line end.
    incomplete: [Vec<u8>; 2],
    /// The end of stderr, also beyond the limit.
    tail: Tail,
}

impl RunLog {
    pub(super) fn new(started: Instant, bytes_max: u64) -> Self {
        Self { started, bytes_max, content: Mutex::default() }
    }

    /// Adds one message.
    pub(super) fn add_line(&self, level: LogLevel, message: &str) {
        let at_ms = milliseconds(self.started.elapsed());
        let mut content = self.content.lock();
        content.push(at_ms, level, message, self.bytes_max);
    }

    /// Adds what was written to stdout or stderr, line by line. Each byte is examined once, however
    /// small the writes are.
    pub(super) fn add_output(&self, level: LogLevel, bytes: &[u8]) {
        let at_ms = milliseconds(self.started.elapsed());
        let mut content = self.content.lock();
        if level == STDERR {
            content.tail.add(bytes);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if content.full {
                return;
            }
            let room = content.room(self.bytes_max);
            let line = content.incomplete_line(level);
            // Keep one byte more than there is room for: it shows that the line is longer.
            let room = room.saturating_add(1).saturating_sub(line.len());
            line.extend_from_slice(part.get(..part.len().min(room)).unwrap_or_default());
            if part.len() < room && !part.ends_with(b"\n") {
                continue;
            }
            let line = std::mem::take(line);
            let text = String::from_utf8_lossy(&line);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            content.push(at_ms, level, text, self.bytes_max);
        }
    }

    /// What the guest printed last on stderr.
    pub(super) fn take_tail(&self) -> Tail {
        std::mem::take(&mut self.content.lock().tail)
    }

    /// Ends the log: its lines and their size in bytes.
    pub(super) fn take(&self) -> (Vec<LogLine>, u64) {
        let at_ms = milliseconds(self.started.elapsed());
        let mut content = self.content.lock();
        let incomplete = std::mem::take(&mut content.incomplete);
        for (level, text) in [STDOUT, STDERR].into_iter().zip(incomplete) {
            if !text.is_empty() {
                content.push(at_ms, level, &String::from_utf8_lossy(&text), self.bytes_max);
            }
        }
        (std::mem::take(&mut content.lines), content.bytes)
    }
}

impl Content {
    /// The bytes that the text of one more line may have.
    fn room(&self, bytes_max: u64) -> usize {
        let left = bytes_max.saturating_sub(self.bytes).saturating_sub(LINE_BYTES);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    fn incomplete_line(&mut self, level: LogLevel) -> &mut Vec<u8> {
        let [stdout, stderr] = &mut self.incomplete;
        if level == STDOUT { stdout } else { stderr }
    }

    /// Adds a line as it will be shown. A line that is longer than the room left is cut.
    fn push(&mut self, at_ms: u64, level: LogLevel, message: &str, bytes_max: u64) {
        if self.full {
            return;
        }
        let room = self.room(bytes_max);
        // Cut before escaping, so that text that is dropped anyway is not escaped.
        let begin = message.get(..message.floor_char_boundary(room)).unwrap_or_default();
        let mut line = printable(begin);
        let fits = self.bytes + LINE_BYTES <= bytes_max;
        self.full = !fits || begin.len() < message.len() || line.len() > room;
        line.truncate(line.floor_char_boundary(room));
        if !self.full || !line.is_empty() {
            self.bytes += line.len() as u64 + LINE_BYTES;
            self.lines.push(LogLine { at_ms, level, message: line });
        }
        if self.full {
            let message = format!("the rest is dropped: over `limits.log_bytes` = {bytes_max}");
            self.lines.push(LogLine { at_ms, level: LogLevel::Warn, message });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_ends_in_one_line_that_names_the_limit() {
        let log = RunLog::new(Instant::now(), 1_000);
        for _ in 0..10_000 {
            log.add_line(LogLevel::Info, "spam\u{1b}[2J");
            log.add_output(STDERR, b"more spam\nand");
        }
        let (lines, bytes) = log.take();
        assert!(bytes <= 1_000);
        assert!(lines.len() < 60);
        assert!(lines.iter().all(|line| !line.message.contains('\u{1b}')));
        assert!(lines.last().is_some_and(|line| line.message.contains("limits.log_bytes")));
    }

    #[tokio::test]
    async fn a_line_that_is_longer_than_the_room_left_is_cut() {
        for write in [
            |log: &RunLog, text: &str| log.add_line(STDOUT, text),
            |log: &RunLog, text: &str| log.add_output(STDOUT, format!("{text}\n").as_bytes()),
            |log: &RunLog, text: &str| log.add_output(STDOUT, text.as_bytes()),
        ] {
            let log = RunLog::new(Instant::now(), 1_000);
            log.add_line(STDERR, "first");
            write(&log, &"\u{e4}".repeat(5_000));
            log.add_line(STDERR, "never");
            let (lines, bytes) = log.take();
            assert!((980..=1_000).contains(&bytes), "{bytes}");
            assert_eq!(lines.len(), 3);
            assert!(lines[1].message.starts_with("\u{e4}\u{e4}"));
            assert!(lines[2].message.contains("limits.log_bytes"));
        }
    }

    #[tokio::test]
    async fn output_in_single_bytes_gives_the_same_lines_and_takes_linear_time() {
        let log = RunLog::new(Instant::now(), 4 << 20);
        let text = format!("one\r\n\n{}\ntwo", "x".repeat(1 << 20));
        for byte in text.as_bytes().chunks(1) {
            log.add_output(STDOUT, byte);
            log.add_output(STDERR, b"");
        }
        let lines: Vec<_> = log.take().0.into_iter().map(|line| line.message).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!((&*lines[0], &*lines[1], &*lines[3]), ("one", "", "two"));
        assert_eq!(lines[2].len(), 1 << 20);
    }
}
