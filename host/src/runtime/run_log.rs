//! The log of one run: the guest's log lines, stdout and stderr, limited in size.
//!
//! Never contains a control character, so that a guest cannot send escape sequences to a terminal.

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::{LogLevel, LogLine, milliseconds, printable};

/// Collects lines up to a number of bytes. It drops the rest, and one line says so.
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
    /// The last line of stdout and of stderr while it has no end, each with its level.
    incomplete: Vec<(LogLevel, Vec<u8>)>,
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

    /// Adds what was written to stdout or stderr, line by line.
    pub(super) fn add_output(&self, level: LogLevel, bytes: &[u8]) {
        let at_ms = milliseconds(self.started.elapsed());
        let mut content = self.content.lock();
        if content.full {
            return;
        }
        let at = content.incomplete.iter().position(|(of, _)| *of == level);
        let mut text = at.map(|at| content.incomplete.swap_remove(at).1).unwrap_or_default();
        text.extend_from_slice(bytes);
        let rest = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let (lines, rest) = text.split_at(rest);
        for line in String::from_utf8_lossy(lines).lines() {
            content.push(at_ms, level, line, self.bytes_max);
        }
        if rest.len() as u64 > self.bytes_max {
            content.push(at_ms, level, &String::from_utf8_lossy(rest), self.bytes_max);
        } else if !rest.is_empty() {
            content.incomplete.push((level, rest.to_vec()));
        }
    }

    /// Ends the log: its lines and their size in bytes.
    pub(super) fn take(&self) -> (Vec<LogLine>, u64) {
        let at_ms = milliseconds(self.started.elapsed());
        let mut content = self.content.lock();
        for (level, text) in std::mem::take(&mut content.incomplete) {
            content.push(at_ms, level, &String::from_utf8_lossy(&text), self.bytes_max);
        }
        (std::mem::take(&mut content.lines), content.bytes)
    }
}

impl Content {
    fn push(&mut self, at_ms: u64, level: LogLevel, message: &str, bytes_max: u64) {
        if self.full {
            return;
        }
        // Each line costs something even when it is empty, so that the number of lines is limited too.
        let cost = message.len() as u64 + 16;
        if self.bytes.saturating_add(cost) > bytes_max {
            self.full = true;
            let message = format!("the rest is dropped: over `limits.log_bytes` = {bytes_max}");
            self.lines.push(LogLine { at_ms, level: LogLevel::Warn, message });
            return;
        }
        self.bytes += cost;
        self.lines.push(LogLine { at_ms, level, message: printable(message) });
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
            log.add_output(LogLevel::Warn, b"more spam\nand");
        }
        let (lines, bytes) = log.take();
        assert!(bytes <= 1_000);
        assert!(lines.len() < 60);
        assert!(lines.iter().all(|line| !line.message.contains('\u{1b}')));
        assert!(lines.last().is_some_and(|line| line.message.contains("limits.log_bytes")));
    }
}
