//! Collects the log of one run: the guest's log lines, its stdout and its stderr. The size of the
//! log is limited. The log never contains a control character, so that a guest cannot send escape
//! sequences to a terminal.

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::{LogLevel, LogLine, milliseconds, printable};

use super::failure_cause::StderrTail;

/// The level of lines on stdout.
pub(super) const STDOUT: LogLevel = LogLevel::Info;
/// The level of lines on stderr.
pub(super) const STDERR: LogLevel = LogLevel::Warn;
/// The bytes that are counted for each line in addition to its text. A line may be empty, so these
/// bytes limit the number of lines.
const BYTES_PER_LINE: u64 = 16;

/// Collects lines until `bytes_max` is reached. Drops further lines, and adds one last line that
/// names the limit.
pub(super) struct RunLog {
    run_started_at: Instant,
    bytes_max: u64,
    content: Mutex<LogContent>,
}

#[derive(Default)]
struct LogContent {
    lines: Vec<LogLine>,
    /// The size of `lines`, as it counts against `limits.log_bytes`.
    bytes: u64,
    /// Whether a line did not fit within the limit, so that further lines are dropped.
    is_full: bool,
    /// The last lines of stdout and stderr, whose line ends the guest has not written yet.
    incomplete_lines: [Vec<u8>; 2],
    /// The end of stderr, which shows why a guest failed. Bytes are added even after the log is
    /// full.
    stderr_tail: StderrTail,
}

impl RunLog {
    pub(super) fn new(run_started_at: Instant, bytes_max: u64) -> Self {
        Self { run_started_at, bytes_max, content: Mutex::default() }
    }

    pub(super) fn add_line(&self, level: LogLevel, message: &str) {
        let at_ms = milliseconds(self.run_started_at.elapsed());
        let mut content = self.content.lock();
        content.push(at_ms, level, message, self.bytes_max);
    }

    pub(super) fn add_output(&self, level: LogLevel, bytes: &[u8]) {
        let at_ms = milliseconds(self.run_started_at.elapsed());
        let mut content = self.content.lock();
        if level == STDERR {
            content.stderr_tail.add(bytes);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if content.is_full {
                return;
            }
            let bytes_left_for_line = content.bytes_left_for_line(self.bytes_max);
            let line = content.incomplete_line(level);
            // One byte more than fits into the log shows that the line is too long.
            let bytes_left = bytes_left_for_line.saturating_add(1).saturating_sub(line.len());
            line.extend_from_slice(part.get(..part.len().min(bytes_left)).unwrap_or_default());
            if part.len() < bytes_left && !part.ends_with(b"\n") {
                continue;
            }
            let line = std::mem::take(line);
            let text = String::from_utf8_lossy(&line);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            content.push(at_ms, level, text, self.bytes_max);
        }
    }

    pub(super) fn take_stderr_tail(&self) -> StderrTail {
        std::mem::take(&mut self.content.lock().stderr_tail)
    }

    /// Returns the lines, and their size as it counts against the limit.
    pub(super) fn take(&self) -> (Vec<LogLine>, u64) {
        let at_ms = milliseconds(self.run_started_at.elapsed());
        let mut content = self.content.lock();
        let incomplete_lines = std::mem::take(&mut content.incomplete_lines);
        for (level, text) in [STDOUT, STDERR].into_iter().zip(incomplete_lines) {
            if !text.is_empty() {
                content.push(at_ms, level, &String::from_utf8_lossy(&text), self.bytes_max);
            }
        }
        (std::mem::take(&mut content.lines), content.bytes)
    }
}

impl LogContent {
    /// Returns how many bytes the text of the next line may have.
    fn bytes_left_for_line(&self, bytes_max: u64) -> usize {
        let bytes_left = bytes_max.saturating_sub(self.bytes).saturating_sub(BYTES_PER_LINE);
        usize::try_from(bytes_left).unwrap_or(usize::MAX)
    }

    fn incomplete_line(&mut self, level: LogLevel) -> &mut Vec<u8> {
        let [stdout, stderr] = &mut self.incomplete_lines;
        if level == STDOUT { stdout } else { stderr }
    }

    /// Adds a line, and escapes its control characters. A line that is too long is cut.
    fn push(&mut self, at_ms: u64, level: LogLevel, message: &str, bytes_max: u64) {
        if self.is_full {
            return;
        }
        let bytes_left_for_line = self.bytes_left_for_line(bytes_max);
        // It takes long to escape a long text, so the line is cut first.
        let beginning =
            message.get(..message.floor_char_boundary(bytes_left_for_line)).unwrap_or_default();
        let mut line = printable(beginning);
        let fits = self.bytes + BYTES_PER_LINE <= bytes_max;
        self.is_full = !fits || beginning.len() < message.len() || line.len() > bytes_left_for_line;
        line.truncate(line.floor_char_boundary(bytes_left_for_line));
        if !self.is_full || !line.is_empty() {
            self.bytes += line.len() as u64 + BYTES_PER_LINE;
            self.lines.push(LogLine { at_ms, level, message: line });
        }
        if self.is_full {
            let message =
                format!("the rest of the log is dropped: over `limits.log_bytes` = {bytes_max}");
            self.lines.push(LogLine { at_ms, level: LogLevel::Warn, message });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_that_exceeds_its_limit_ends_with_one_line_that_names_the_limit() {
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
    async fn a_line_that_is_too_long_for_the_log_is_cut() {
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
    async fn output_in_single_bytes_is_split_into_lines_in_linear_time() {
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
