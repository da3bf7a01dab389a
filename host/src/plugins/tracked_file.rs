//! The state of one file in the plugins folder. The state determines when the file is read again,
//! when its content is complete, and when loading is tried again after a failure.
//!
//! A changed size, time or inode is only a hint that the file has changed; the content decides.
//! This module stores only the hash of the content, and neither reads nor loads a file.

use std::time::Duration;

use tokio::time::Instant;

use super::folder::FileStamp;

/// A file with new content is complete if it has not changed for this time.
const COMPLETE_AFTER: Duration = Duration::from_millis(100);
/// A file is reported if its content has kept changing for longer than [`CHANGING_TIME_MAX`] and at
/// least [`CHANGES_MAX`] times.
const CHANGING_TIME_MAX: Duration = Duration::from_secs(30);
const CHANGES_MAX: u32 = 10;
/// A file is read again after this time even without a hint, because some file systems store times
/// in whole seconds. Each further wait is ten times as long, up to [`REREAD_WAIT_MAX`].
const REREAD_WAIT: Duration = Duration::from_secs(3);
const REREAD_WAIT_MAX: Duration = Duration::from_secs(300);
/// After this many false hints (changes of the stamp without a change of the content), hints are
/// ignored, and the longest wait is [`REREAD_WAIT_UNRELIABLE_MAX`].
const FALSE_HINTS_MAX: u32 = 10;
const REREAD_WAIT_UNRELIABLE_MAX: Duration = Duration::from_secs(30);
/// Loading is tried again after this time if the cause of the failure may be temporary. The time
/// doubles at each further failure, up to [`RETRY_WAIT_MAX`].
const RETRY_WAIT: Duration = Duration::from_secs(15);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextAction {
    Nothing,
    Read,
    Load,
}

/// The progress of loading the content that was read last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentState {
    /// The content was first seen or changed at this instant, and may be incomplete.
    New(Instant),
    Loading,
    /// The content is in use or broken. No action is needed until the content changes.
    Processed,
    /// The content could not be read or loaded. The scanner tries again at this instant.
    Failed(Instant),
}

/// A file in the plugins folder, with the results of earlier reads.
#[derive(Debug, Clone)]
pub(super) struct TrackedFile {
    /// The stamp of the file at the last read.
    stamp: FileStamp,
    /// SHA-256 of the content; `None` if the content cannot be read.
    sha256: Option<String>,
    state: ContentState,
    /// The instant at which the file is read again without a hint.
    reread_at: Instant,
    /// The length of the wait that ends at `reread_at`.
    reread_wait: Duration,
    /// The number of changes of the stamp since the content last changed.
    false_hints: u32,
    /// The start of a series of changes, each of which came before the content was loaded.
    changing_since: Instant,
    /// The number of changes of the content since `changing_since`.
    changes: u32,
    /// The wait after the next failure to load the content.
    retry_wait: Duration,
}

impl TrackedFile {
    pub(super) fn new(stamp: FileStamp, sha256: Option<String>, now: Instant) -> Self {
        Self {
            stamp,
            sha256,
            state: ContentState::New(now),
            reread_at: now + REREAD_WAIT,
            reread_wait: REREAD_WAIT,
            false_hints: 0,
            changing_since: now,
            changes: 0,
            retry_wait: RETRY_WAIT,
        }
    }

    /// Records that the file was read again. Returns whether its content has changed.
    pub(super) fn record_read(
        &mut self,
        stamp: FileStamp,
        sha256: Option<String>,
        now: Instant,
    ) -> bool {
        if self.sha256 == sha256 {
            if self.stamp != stamp {
                self.false_hints = self.false_hints.saturating_add(1);
            }
            if now >= self.reread_at {
                let wait_max = match self.is_unreliable() {
                    true => REREAD_WAIT_UNRELIABLE_MAX,
                    false => REREAD_WAIT_MAX,
                };
                self.reread_wait = (self.reread_wait * 10).min(wait_max);
                self.reread_at = now + self.reread_wait;
            }
            self.stamp = stamp;
            return false;
        }
        let new = Self::new(stamp, sha256, now);
        let is_changing = matches!(self.state, ContentState::New(_) | ContentState::Loading);
        let (since, changes) = match is_changing {
            true => (self.changing_since, self.changes.saturating_add(1)),
            false => (now, 0),
        };
        *self = Self { changing_since: since, changes, ..new };
        true
    }

    /// Returns the next action for the file, whose stamp is now `stamp`.
    pub(super) fn next_action(&self, stamp: &FileStamp, now: Instant) -> NextAction {
        let has_hint = self.stamp != *stamp && !self.is_unreliable();
        match self.state {
            _ if has_hint || now >= self.reread_at => NextAction::Read,
            // Read the file once more before it is loaded, because some file systems show a change
            // late.
            ContentState::New(at) if now >= at + COMPLETE_AFTER => NextAction::Read,
            ContentState::Failed(at) if now >= at && self.sha256.is_some() => NextAction::Load,
            ContentState::Failed(at) if now >= at => NextAction::Read,
            _ => NextAction::Nothing,
        }
    }

    /// Whether the content is complete and was not loaded yet.
    pub(super) fn is_complete(&self, now: Instant) -> bool {
        matches!(self.state, ContentState::New(at) if now >= at + COMPLETE_AFTER)
            && self.sha256.is_some()
    }

    /// Whether the content has kept changing for so long that the file is reported to a person.
    pub(super) fn keeps_changing(&self, now: Instant) -> bool {
        now > self.changing_since + CHANGING_TIME_MAX && self.changes >= CHANGES_MAX
    }

    /// Returns the instant at which the file must be read or loaded. Reads without a hint are not
    /// included, because the next scan on the timer does them.
    pub(super) fn next_action_at(&self) -> Option<Instant> {
        match self.state {
            ContentState::New(at) => Some(at + COMPLETE_AFTER),
            ContentState::Failed(at) => Some(at),
            ContentState::Loading | ContentState::Processed => None,
        }
    }

    pub(super) fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }

    pub(super) fn is_loading(&self, sha256: &str) -> bool {
        self.state == ContentState::Loading && self.sha256.as_deref() == Some(sha256)
    }

    pub(super) fn set_loading(&mut self) {
        self.state = ContentState::Loading;
    }

    /// Records that the content is in use, or is broken until it changes.
    pub(super) fn set_processed(&mut self) {
        self.state = ContentState::Processed;
    }

    /// Records that the content changed before it was loaded.
    pub(super) fn set_changed(&mut self, now: Instant) {
        self.state = ContentState::New(now);
    }

    /// Records that the content could not be read or loaded, and that the cause may be temporary.
    pub(super) fn set_failed(&mut self, now: Instant) {
        self.state = ContentState::Failed(now + self.retry_wait);
        self.retry_wait = (self.retry_wait * 2).min(RETRY_WAIT_MAX);
    }

    fn is_unreliable(&self) -> bool {
        self.false_hints >= FALSE_HINTS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(number: u64) -> FileStamp {
        FileStamp::of_inode(number)
    }

    fn hash(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_file_is_loaded_when_its_content_has_not_changed_for_a_while() {
        let start = Instant::now();
        let mut file = TrackedFile::new(stamp(1), hash("a"), start);
        assert_eq!(file.next_action(&stamp(1), start), NextAction::Nothing);
        let soon = start + COMPLETE_AFTER;
        assert_eq!(file.next_action(&stamp(1), soon), NextAction::Read);
        assert!(file.record_read(stamp(1), hash("ab"), soon) && !file.is_complete(soon));
        let later = soon + COMPLETE_AFTER;
        assert!(!file.record_read(stamp(1), hash("ab"), later) && file.is_complete(later));
        file.set_loading();
        assert!(file.is_loading("ab") && !file.is_loading("a"));
        assert_eq!(file.next_action(&stamp(1), later), NextAction::Nothing);
        assert_eq!(file.next_action(&stamp(2), later), NextAction::Read);
    }

    /// Simulates a file system that reports another inode or device for a file at each scan.
    #[test]
    fn a_file_whose_inode_changes_all_the_time_is_loaded_and_then_rarely_read() {
        let start = Instant::now();
        let mut file = TrackedFile::new(stamp(0), hash("a"), start);
        let mut reads = 0;
        for n in 1..3_000 {
            let now = start + Duration::from_millis(100) * n;
            if file.next_action(&stamp(n.into()), now) == NextAction::Read {
                reads += 1;
                file.record_read(stamp(n.into()), hash("a"), now);
            }
            if file.is_complete(now) {
                file.set_processed();
            }
        }
        assert_eq!(file.state, ContentState::Processed);
        assert!((15..40).contains(&reads), "{reads} reads in five minutes");
        let now = start + seconds(400);
        assert_eq!(file.next_action(&stamp(9_999), now), NextAction::Read);
        assert!(file.record_read(stamp(9_999), hash("b"), now), "the content decides");
    }

    #[test]
    fn content_that_changes_without_a_hint_is_found() {
        let start = Instant::now();
        let mut file = TrackedFile::new(stamp(1), hash("a"), start);
        file.set_processed();
        assert_eq!(file.next_action(&stamp(1), start + seconds(2)), NextAction::Nothing);
        assert_eq!(file.next_action(&stamp(1), start + seconds(3)), NextAction::Read);
        assert!(!file.record_read(stamp(1), hash("a"), start + seconds(3)));
        assert_eq!(file.next_action(&stamp(1), start + seconds(32)), NextAction::Nothing);
        assert_eq!(file.next_action(&stamp(1), start + seconds(33)), NextAction::Read);
        assert!(file.record_read(stamp(1), hash("b"), start + seconds(33)));
    }

    #[test]
    fn a_file_that_keeps_changing_for_30_seconds_is_reported() {
        let start = Instant::now();
        let mut file = TrackedFile::new(stamp(0), hash("0"), start);
        for n in 1..40 {
            let now = start + seconds(n);
            assert!(file.record_read(stamp(n), hash(&n.to_string()), now));
            assert_eq!(file.keeps_changing(now), n > 30, "{n}");
            file.set_loading();
        }
        file.set_processed();
        assert!(file.record_read(stamp(99), hash("99"), start + seconds(99)));
        assert!(!file.keeps_changing(start + seconds(99)), "the file was loaded meanwhile");
    }

    #[test]
    fn the_wait_doubles_after_each_temporary_failure() {
        let start = Instant::now();
        for (sha256, action) in [(hash("a"), NextAction::Load), (None, NextAction::Read)] {
            let mut file = TrackedFile::new(stamp(1), sha256, start);
            file.reread_at = start + seconds(9_999);
            let mut now = start;
            for wait in [15, 30, 60, 120, 240, 480, 600, 600] {
                file.set_failed(now);
                assert_eq!(file.next_action_at(), Some(now + seconds(wait)));
                assert_eq!(
                    file.next_action(&stamp(1), now + seconds(wait - 1)),
                    NextAction::Nothing
                );
                now += seconds(wait);
                assert_eq!(file.next_action(&stamp(1), now), action);
                file.set_loading();
            }
        }
    }
}
