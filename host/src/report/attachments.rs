//! Selects the files of a failed test that are sent to the tracker, and changes their names to safe
//! names. This module never reads the content of a file.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::{StringEnum as _, is_printable, printable};

use super::{Attachment, AttachmentKind, Gap, Subject, TestData};

/// The largest `files_max` that a policy may have.
const FILES_LIMIT_MAX: usize = 50;
/// The largest `file_bytes_max` and `total_bytes_max` that a policy may have, bytes.
const BYTES_LIMIT_MAX: u64 = 256 * 1024 * 1024;
/// Maximum length of a file name, characters, not counting a number that makes the name unique.
const FILE_NAME_CHARS_MAX: usize = 100;
/// Characters that file systems or trackers refuse in a file name.
const RESERVED_CHARACTERS: &str = "/\\<>:\"|?*";

/// The attachment policy of a connection, which decides which files are sent to the tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttachmentPolicy {
    /// The kinds of files that may be sent, the preferred kind first. Each kind is `screenshot`,
    /// `robot-log` or `file`.
    pub kinds: Vec<String>,
    /// The maximum number of files.
    pub files_max: usize,
    /// The maximum size of one file, bytes.
    pub file_bytes_max: u64,
    /// The maximum size of all files together, bytes.
    pub total_bytes_max: u64,
}

impl Default for AttachmentPolicy {
    fn default() -> Self {
        Self {
            kinds: vec!["screenshot".to_owned(), "robot-log".to_owned()],
            files_max: 10,
            file_bytes_max: 10 * 1024 * 1024,
            total_bytes_max: 25 * 1024 * 1024,
        }
    }
}

impl AttachmentPolicy {
    pub(super) fn problem(&self) -> Option<String> {
        let kind_names = AttachmentKind::ALL.iter().map(|kind| kind.as_str());
        let unknown = self.kinds.iter().find(|kind| AttachmentKind::parse(kind).is_none());
        if let Some(unknown) = unknown {
            let kind_names = kind_names.collect::<Vec<_>>().join(", ");
            return Some(format!("unknown kind {unknown:?}; the kinds are {kind_names}"));
        }
        if self.files_max > FILES_LIMIT_MAX {
            return Some(format!("`files_max` must be at most {FILES_LIMIT_MAX}"));
        }
        let largest = self.file_bytes_max.max(self.total_bytes_max);
        (largest > BYTES_LIMIT_MAX).then(|| {
            format!("`file_bytes_max` and `total_bytes_max` must be at most {BYTES_LIMIT_MAX}")
        })
    }

    /// Whether the policy allows at least one file.
    #[must_use]
    pub fn allows_files(&self) -> bool {
        !self.kinds.is_empty() && self.files_max > 0
    }

    /// Returns the parts of the data that list the files of the allowed kinds.
    pub(super) fn subjects(&self) -> BTreeSet<Subject> {
        let subject = |kind: AttachmentKind| match kind {
            AttachmentKind::Screenshot => Subject::Assertions,
            AttachmentKind::RobotLog => Subject::RobotLogs,
            AttachmentKind::File => Subject::Attachments,
        };
        self.allowed_kinds().into_iter().map(subject).collect()
    }

    /// Returns the kinds of files that may be sent, in the order of preference.
    fn allowed_kinds(&self) -> Vec<AttachmentKind> {
        let mut kinds = Vec::new();
        for kind in self.kinds.iter().filter_map(|kind| AttachmentKind::parse(kind)) {
            if self.files_max > 0 && !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// Selects the files for the tracker, and returns a gap for each file of the allowed kinds that
    /// is not selected. `robot_log_bytes` is the size of the robot's log as a file; 0 if there is
    /// no log. A file of unknown size counts as 0 bytes.
    pub(super) fn select(
        &self,
        data: &TestData,
        robot_log_bytes: u64,
    ) -> (Vec<Attachment>, Vec<Gap>) {
        let (mut selected, mut gaps, mut selected_bytes) = (Vec::new(), Vec::new(), 0_u64);
        let files = available_files(data, robot_log_bytes);
        for kind in self.allowed_kinds() {
            for file in files.iter().filter(|file| file.kind == kind) {
                let size = file.size.unwrap_or(0);
                let why = if selected.len() >= self.files_max {
                    format!("at most {} files are sent for a defect", self.files_max)
                } else if size > self.file_bytes_max {
                    format!(
                        "the file has {size} bytes, and at most {} are sent",
                        self.file_bytes_max
                    )
                } else if selected_bytes.saturating_add(size) > self.total_bytes_max {
                    format!("all files together may have at most {} bytes", self.total_bytes_max)
                } else {
                    selected_bytes = selected_bytes.saturating_add(size);
                    selected.push(file.clone());
                    continue;
                };
                gaps.push(Gap { what: format!("the file {}", printable(&file.name)), why });
            }
        }
        safe_file_names(&mut selected);
        (selected, gaps)
    }
}

/// Returns all files: the attachments in the data, the screenshots of assertions, and the robot's
/// log if it is not empty.
fn available_files(data: &TestData, robot_log_bytes: u64) -> Vec<Attachment> {
    let is_robot_log = |file: &&Attachment| file.kind == AttachmentKind::RobotLog;
    let mut files: Vec<_> =
        data.attachments.iter().filter(|file| !is_robot_log(file)).cloned().collect();
    let with_screenshot = data.assertions.iter().filter(|assertion| assertion.has_screenshot);
    for (index, assertion) in with_screenshot.enumerate() {
        if !files.iter().any(|file| file.source_id == assertion.id) {
            files.push(Attachment {
                kind: AttachmentKind::Screenshot,
                source_id: assertion.id.clone(),
                name: format!("screenshot-{}.png", index + 1),
                media_type: "image/png".to_owned(),
                size: None,
            });
        }
    }
    // The screenshots of passed assertions come last, because people need the other files more.
    let has_succeeded = |id: &str| {
        data.assertions.iter().any(|assertion| assertion.id == id && assertion.succeeded)
    };
    files.sort_by_key(|file| has_succeeded(&file.source_id));
    if robot_log_bytes > 0 {
        files.push(Attachment {
            kind: AttachmentKind::RobotLog,
            source_id: String::new(),
            name: "robot-log.txt".to_owned(),
            media_type: "text/plain; charset=utf-8".to_owned(),
            size: Some(robot_log_bytes),
        });
    }
    files
}

/// Changes the name of each file to a safe name: without a path, without characters that file
/// systems or trackers refuse, and unique if case is ignored.
pub fn safe_file_names(files: &mut [Attachment]) {
    let mut used_names = BTreeSet::new();
    for file in files {
        let name = safe_file_name(&file.name);
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) => (stem.to_owned(), format!(".{extension}")),
            None => (name.clone(), String::new()),
        };
        let mut unique = name;
        for number in 2.. {
            if used_names.insert(unique.to_lowercase()) {
                break;
            }
            unique = format!("{stem}-{number}{extension}");
        }
        file.name = unique;
    }
}

/// Returns the last part of a path, at most [`FILE_NAME_CHARS_MAX`] characters long and without
/// characters that file systems or trackers refuse. If no character remains, the name is `file`.
fn safe_file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let safe: String = last
        .chars()
        .filter(|c| is_printable(*c))
        .map(|c| if RESERVED_CHARACTERS.contains(c) { '_' } else { c })
        .collect();
    let safe = safe.trim().trim_matches('.').trim();
    let length = safe.chars().count();
    // Cut the beginning of a long name, because its end is the extension.
    let safe: String = safe.chars().skip(length.saturating_sub(FILE_NAME_CHARS_MAX)).collect();
    let safe = safe.trim_start_matches(['.', ' ']);
    if safe.is_empty() { "file".to_owned() } else { safe.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::report::Assertion;

    use super::*;

    fn new_attachment(kind: AttachmentKind, name: &str, size: u64) -> Attachment {
        let (source_id, media_type) = (name.to_owned(), "image/png".to_owned());
        Attachment { kind, source_id, name: name.to_owned(), media_type, size: Some(size) }
    }

    fn file_names(files: &[Attachment]) -> Vec<&str> {
        files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn a_file_is_selected_once_even_if_the_policy_repeats_its_kind() {
        let attachments = vec![new_attachment(AttachmentKind::File, "trace.zip", 5)];
        let data = TestData { attachments, ..TestData::default() };
        let kinds = vec!["file".to_owned(); 2];
        let (files, gaps) = AttachmentPolicy { kinds, ..Default::default() }.select(&data, 0);
        assert_eq!((file_names(&files), gaps), (vec!["trace.zip"], vec![]));
    }

    #[test]
    fn only_files_that_the_policy_allows_are_selected() {
        let data = TestData {
            attachments: vec![
                new_attachment(AttachmentKind::File, "trace.zip", 5),
                new_attachment(AttachmentKind::Screenshot, "a.png", 4),
                new_attachment(AttachmentKind::Screenshot, "b.png", 40),
                new_attachment(AttachmentKind::Screenshot, "c.png", 7),
            ],
            ..TestData::default()
        };
        let policy = AttachmentPolicy {
            kinds: vec!["robot-log".to_owned(), "screenshot".to_owned(), "file".to_owned()],
            files_max: 3,
            file_bytes_max: 10,
            total_bytes_max: 15,
        };
        let (selected, gaps) = policy.select(&data, 3);
        assert_eq!(file_names(&selected), ["robot-log.txt", "a.png", "c.png"]);
        assert_eq!(gaps.len(), 2, "{gaps:?}");
        assert!(gaps.iter().any(|gap| gap.why.contains("40 bytes")), "{gaps:?}");
        let (selected, _) = AttachmentPolicy { files_max: 0, ..policy }.select(&data, 3);
        assert!(selected.is_empty());
    }

    #[test]
    fn screenshots_of_failed_assertions_come_first() {
        let assertion = |id: &str, succeeded| Assertion {
            id: id.to_owned(),
            succeeded,
            has_screenshot: true,
            ..Assertion::default()
        };
        let data = TestData {
            assertions: vec![assertion("1", true), assertion("2", false)],
            ..TestData::default()
        };
        let (selected, _) = AttachmentPolicy::default().select(&data, 0);
        let ids: Vec<_> = selected.iter().map(|file| file.source_id.as_str()).collect();
        assert_eq!(ids, ["2", "1"]);
    }

    #[test]
    fn only_subjects_that_list_files_of_the_allowed_kinds_are_returned() {
        let subjects = AttachmentPolicy::default().subjects();
        assert_eq!(subjects, BTreeSet::from([Subject::Assertions, Subject::RobotLogs]));
        let none = AttachmentPolicy { files_max: 0, ..AttachmentPolicy::default() };
        assert_eq!(none.subjects(), BTreeSet::new());
    }

    #[test]
    fn file_names_become_safe_and_unique() {
        let old_names =
            ["../../etc/passwd", "C:\\a\\b.png", "b.PNG", "b.png", "..", "a\u{202e}gnp.x\n"];
        let mut files: Vec<_> =
            old_names.iter().map(|name| new_attachment(AttachmentKind::File, name, 1)).collect();
        safe_file_names(&mut files);
        let new_names = ["passwd", "b.png", "b-2.PNG", "b-3.png", "file", "agnp.x"];
        assert_eq!(file_names(&files), new_names);
    }

    proptest! {
        #[test]
        fn any_name_becomes_safe(old_names in proptest::collection::vec(any::<String>(), 0..8)) {
            let mut files: Vec<_> =
                old_names.iter().map(|name| new_attachment(AttachmentKind::File, name, 1)).collect();
            safe_file_names(&mut files);
            let unique: BTreeSet<_> = files.iter().map(|file| file.name.to_lowercase()).collect();
            prop_assert_eq!(unique.len(), files.len());
            for file in &files {
                let name = &file.name;
                prop_assert!(!name.is_empty() && name.chars().count() <= FILE_NAME_CHARS_MAX + 4);
                let is_safe = |c: char| is_printable(c) && !RESERVED_CHARACTERS.contains(c);
                prop_assert!(name.chars().all(is_safe));
                prop_assert!(!name.starts_with('.'));
            }
        }
    }
}
