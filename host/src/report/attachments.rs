//! Chooses the files of a failed test that a tracker gets, and gives them safe names.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::{StringEnum as _, is_printable, printable};

use super::{Attachment, AttachmentKind, Gap, Subject, TestData};

const FILES_CEILING: usize = 50;
const BYTES_CEILING: u64 = 256 * 1024 * 1024;
const NAME_CHARS_MAX: usize = 100;
/// Characters that file systems or trackers refuse in a file name.
const RESERVED: &str = "/\\<>:\"|?*";

/// The attachment policy: which files are sent to the tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttachmentPolicy {
    /// The kinds of files, in order of preference: `screenshot`, `robot-log`, `file`.
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
    /// Checks the policy; returns what is wrong with it.
    pub(super) fn problem(&self) -> Option<String> {
        let known = AttachmentKind::ALL.iter().map(|kind| kind.as_str());
        let unknown = self.kinds.iter().find(|kind| AttachmentKind::parse(kind).is_none());
        if let Some(unknown) = unknown {
            let known = known.collect::<Vec<_>>().join(", ");
            return Some(format!("unknown kind {unknown:?}; the kinds are {known}"));
        }
        if self.files_max > FILES_CEILING {
            return Some(format!("`files_max` is at most {FILES_CEILING}"));
        }
        let largest = self.file_bytes_max.max(self.total_bytes_max);
        (largest > BYTES_CEILING)
            .then(|| format!("`file_bytes_max` and `total_bytes_max` are at most {BYTES_CEILING}"))
    }

    /// Whether the policy allows any file at all.
    #[must_use]
    pub fn takes_files(&self) -> bool {
        !self.kinds.is_empty() && self.files_max > 0
    }

    /// The parts of the data that list files of the chosen kinds.
    pub(super) fn subjects(&self) -> BTreeSet<Subject> {
        let subject = |kind: AttachmentKind| match kind {
            AttachmentKind::Screenshot => Subject::Assertions,
            AttachmentKind::RobotLog => Subject::RobotLogs,
            AttachmentKind::File => Subject::Attachments,
        };
        self.kinds().into_iter().map(subject).collect()
    }

    fn kinds(&self) -> Vec<AttachmentKind> {
        let kinds = self.kinds.iter().filter_map(|kind| AttachmentKind::parse(kind));
        kinds.filter(|_| self.files_max > 0).collect()
    }

    /// The files that a tracker gets, and a gap for each other file of the chosen kinds. The size
    /// of a file may be unknown: the download must then keep to `file_bytes_max`.
    pub(super) fn select(&self, data: &TestData, log_bytes: u64) -> (Vec<Attachment>, Vec<Gap>) {
        let (mut selected, mut gaps, mut total) = (Vec::new(), Vec::new(), 0_u64);
        let all = available_files(data, log_bytes);
        for kind in self.kinds() {
            for file in all.iter().filter(|file| file.kind == kind) {
                let size = file.size.unwrap_or(0);
                let why = if selected.len() >= self.files_max {
                    format!("a defect gets at most {} files", self.files_max)
                } else if size > self.file_bytes_max {
                    format!("it has {size} bytes, and at most {} are sent", self.file_bytes_max)
                } else if total.saturating_add(size) > self.total_bytes_max {
                    format!("all files together have at most {} bytes", self.total_bytes_max)
                } else {
                    total = total.saturating_add(size);
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

/// All files: the fetched ones, a screenshot for each assertion that has one, and the robot's log.
fn available_files(data: &TestData, log_bytes: u64) -> Vec<Attachment> {
    let is_log = |file: &&Attachment| file.kind == AttachmentKind::RobotLog;
    let mut all: Vec<_> = data.attachments.iter().filter(|it| !is_log(it)).cloned().collect();
    let with_screenshot = data.assertions.iter().filter(|it| it.has_screenshot);
    for (index, assertion) in with_screenshot.enumerate() {
        if !all.iter().any(|file| file.source_id == assertion.id) {
            all.push(Attachment {
                kind: AttachmentKind::Screenshot,
                source_id: assertion.id.clone(),
                name: format!("screenshot-{}.png", index + 1),
                media_type: "image/png".to_owned(),
                size: None,
            });
        }
    }
    // Screenshots of failed assertions come first: a person needs them more.
    let succeeded = |id: &str| data.assertions.iter().any(|it| it.id == id && it.succeeded);
    all.sort_by_key(|file| succeeded(&file.source_id));
    if log_bytes > 0 {
        all.push(Attachment {
            kind: AttachmentKind::RobotLog,
            source_id: String::new(),
            name: "robot-log.txt".to_owned(),
            media_type: "text/plain; charset=utf-8".to_owned(),
            size: Some(log_bytes),
        });
    }
    all
}

/// Gives each file a unique name that is not a path and has no special characters.
pub fn safe_file_names(files: &mut [Attachment]) {
    let mut taken = BTreeSet::new();
    for file in files {
        let name = safe_name(&file.name);
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) => (stem.to_owned(), format!(".{extension}")),
            None => (name.clone(), String::new()),
        };
        let mut unique = name;
        for number in 2.. {
            if taken.insert(unique.to_lowercase()) {
                break;
            }
            unique = format!("{stem}-{number}{extension}");
        }
        file.name = unique;
    }
}

fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let safe: String = last
        .chars()
        .filter(|c| is_printable(*c))
        .map(|c| if RESERVED.contains(c) { '_' } else { c })
        .collect();
    let safe = safe.trim().trim_matches('.').trim();
    let length = safe.chars().count();
    // Cut the beginning, so that the name keeps its extension.
    let safe: String = safe.chars().skip(length.saturating_sub(NAME_CHARS_MAX)).collect();
    let safe = safe.trim_start_matches(['.', ' ']);
    if safe.is_empty() { "file".to_owned() } else { safe.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::report::Assertion;

    use super::*;

    fn file(kind: AttachmentKind, name: &str, size: u64) -> Attachment {
        let (source_id, media_type) = (name.to_owned(), "image/png".to_owned());
        Attachment { kind, source_id, name: name.to_owned(), media_type, size: Some(size) }
    }

    fn names(files: &[Attachment]) -> Vec<&str> {
        files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn a_tracker_gets_no_more_than_the_policy_allows() {
        let data = TestData {
            attachments: vec![
                file(AttachmentKind::File, "trace.zip", 5),
                file(AttachmentKind::Screenshot, "a.png", 4),
                file(AttachmentKind::Screenshot, "b.png", 40),
                file(AttachmentKind::Screenshot, "c.png", 7),
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
        assert_eq!(names(&selected), ["robot-log.txt", "a.png", "c.png"]);
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
    fn only_what_is_attached_is_fetched() {
        let subjects = AttachmentPolicy::default().subjects();
        assert_eq!(subjects, BTreeSet::from([Subject::Assertions, Subject::RobotLogs]));
        let none = AttachmentPolicy { files_max: 0, ..AttachmentPolicy::default() };
        assert_eq!(none.subjects(), BTreeSet::new());
    }

    #[test]
    fn names_of_files_are_safe_and_unique() {
        let given =
            ["../../etc/passwd", "C:\\a\\b.png", "b.PNG", "b.png", "..", "a\u{202e}gnp.x\n"];
        let mut files: Vec<_> =
            given.iter().map(|name| file(AttachmentKind::File, name, 1)).collect();
        safe_file_names(&mut files);
        let expected = ["passwd", "b.png", "b-2.PNG", "b-3.png", "file", "agnp.x"];
        assert_eq!(names(&files), expected);
    }

    proptest! {
        #[test]
        fn any_name_becomes_a_safe_one(given in proptest::collection::vec(any::<String>(), 0..8)) {
            let mut files: Vec<_> =
                given.iter().map(|name| file(AttachmentKind::File, name, 1)).collect();
            safe_file_names(&mut files);
            let unique: BTreeSet<_> = files.iter().map(|file| file.name.to_lowercase()).collect();
            prop_assert_eq!(unique.len(), files.len());
            for file in &files {
                let name = &file.name;
                prop_assert!(!name.is_empty() && name.chars().count() <= NAME_CHARS_MAX + 4);
                prop_assert!(name.chars().all(|c| is_printable(c) && !RESERVED.contains(c)));
                prop_assert!(!name.starts_with('.'));
            }
        }
    }
}
