//! The rules of the mirror. The rules choose an action from three facts: the file in the folder,
//! the last decision of the servers, and the state in which folder and store agreed last.
//!
//! The rules are pure functions: they read neither a file nor the store.

use crate::plugins::file_kind::FileKind;
use crate::store::SharedConnector;

/// The state of folder and store when they agreed last, or when this server last changed one of
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastAgreement {
    /// The revision of the decision in the store.
    pub(super) revision: i64,
    /// SHA-256 of the file; `None` if there was no file.
    pub(super) sha256: Option<String>,
}

impl LastAgreement {
    /// The state for a connector that was added after the server had compared its folder. Before
    /// that, neither folder nor store had the connector.
    pub(super) fn without_connector() -> Self {
        Self { revision: 0, sha256: None }
    }
}

/// The file that the folder has for a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FolderFile {
    /// No file.
    Nothing,
    /// A file that can be read.
    File { sha256: String, kind: FileKind, state: FileState },
    /// Two files, or a file that cannot be read or is too large.
    Unusable,
}

/// The state of a file in the scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileState {
    /// The file is loaded.
    Accepted,
    /// The file cannot be used.
    Broken,
    /// The file was not loaded yet.
    Pending,
}

/// The action of the mirror for a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Record that folder and store agree.
    Agree,
    /// Do nothing until the folder or the store changes.
    Nothing,
    /// Decide later, when the scanner has loaded the file.
    Wait,
    /// Compare again soon.
    CompareAgain,
    /// Write the version that the servers use into the folder.
    Install,
    /// Remove the file from the folder.
    Uninstall,
    /// Store the file as the version that the servers use.
    Share,
    /// Remove the connector at all servers.
    Remove,
}

pub(super) fn choose_action(
    agreed: Option<&LastAgreement>,
    folder_file: &FolderFile,
    shared: Option<&SharedConnector>,
) -> Action {
    let Some(shared) = shared else {
        return match folder_file {
            FolderFile::File { state: FileState::Accepted, .. } => Action::Share,
            FolderFile::File { state: FileState::Pending, .. } => Action::Wait,
            _ => Action::Nothing,
        };
    };
    let current = shared.current();
    let agree = match (folder_file, current) {
        (FolderFile::Nothing, None) => true,
        (FolderFile::File { sha256, kind, .. }, Some(current)) => {
            *sha256 == current.sha256 && (*kind == FileKind::Script) == current.is_script
        }
        _ => false,
    };
    if agree {
        return Action::Agree;
    }
    // Without an earlier agreement, the file in the folder may be old, so the store decides.
    let has_newer_decision = agreed.is_none_or(|agreed| agreed.revision < shared.revision);
    match (agreed, folder_file) {
        (Some(LastAgreement { sha256: Some(_), .. }), FolderFile::Nothing)
            if !has_newer_decision =>
        {
            return Action::Remove;
        }
        (Some(agreed), FolderFile::File { sha256, state, .. })
            if agreed.sha256.as_ref() != Some(sha256)
                && !was_shared_since(agreed, sha256, shared) =>
        {
            match state {
                FileState::Accepted => return Action::Share,
                FileState::Pending => return Action::Wait,
                FileState::Broken => {}
            }
        }
        _ => {}
    }
    match current {
        _ if !has_newer_decision => Action::Nothing,
        Some(_) => Action::Install,
        None => Action::Uninstall,
    }
}

/// Whether a file of the folder was shared after the last agreement, for example by this server if
/// it did not receive the answer of the database. If the servers use another version now, a later
/// decision has replaced the file, so the file is not shared again.
fn was_shared_since(agreed: &LastAgreement, sha256: &str, shared: &SharedConnector) -> bool {
    let is_this_file = |version: &&crate::store::SharedVersion| version.sha256 == sha256;
    let version = shared.versions.iter().find(is_this_file);
    version.is_some_and(|version| version.revision > agreed.revision)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::SharedVersion;

    /// Returns the last agreement. An empty SHA-256 means that the connector was removed.
    fn agreed(revision: i64, sha256: &str) -> Option<LastAgreement> {
        Some(LastAgreement { revision, sha256: (!sha256.is_empty()).then(|| sha256.to_owned()) })
    }

    fn file(sha256: &str, state: FileState) -> FolderFile {
        FolderFile::File { sha256: sha256.to_owned(), kind: FileKind::Component, state }
    }

    /// Returns a connector for which these decisions were made, the newest decision first. An empty
    /// SHA-256 means that the connector was removed.
    fn shared(decisions: &[(i64, &str)]) -> Option<SharedConnector> {
        let version = |(revision, sha256): &(i64, &str)| SharedVersion {
            sha256: (*sha256).to_owned(),
            is_script: false,
            bytes: 1,
            revision: *revision,
            at: Timestamp::UNIX_EPOCH,
        };
        let (revision, last) = decisions[0];
        let versions = decisions.iter().filter(|(_, sha256)| !sha256.is_empty()).map(version);
        let (name, removed) = ("c".to_owned(), last.is_empty());
        Some(SharedConnector { name, revision, removed, versions: versions.collect() })
    }

    #[track_caller]
    fn assert_action(
        agreed: Option<LastAgreement>,
        folder_file: &FolderFile,
        shared: Option<SharedConnector>,
        expected: Action,
    ) {
        assert_eq!(
            choose_action(agreed.as_ref(), folder_file, shared.as_ref()),
            expected,
            "{folder_file:?}"
        );
    }

    use FileState::{Accepted, Broken, Pending};

    #[test]
    fn at_the_start_the_store_wins_and_connectors_that_the_store_never_had_are_shared() {
        for state in [Accepted, Broken, Pending] {
            assert_action(None, &file("old", state), shared(&[(3, "new")]), Action::Install);
            assert_action(
                None,
                &file("old", state),
                shared(&[(3, ""), (2, "old")]),
                Action::Uninstall,
            );
            assert_action(None, &file("new", state), shared(&[(3, "new")]), Action::Agree);
        }
        assert_action(None, &FolderFile::Nothing, shared(&[(3, "new")]), Action::Install);
        assert_action(None, &FolderFile::Nothing, shared(&[(3, "")]), Action::Agree);
        assert_action(None, &FolderFile::Unusable, shared(&[(3, "new")]), Action::Install);
        assert_action(None, &file("own", Accepted), None, Action::Share);
        assert_action(None, &file("own", Pending), None, Action::Wait);
        assert_action(None, &file("own", Broken), None, Action::Nothing);
        assert_action(None, &FolderFile::Nothing, None, Action::Nothing);
    }

    #[test]
    fn a_decision_of_another_server_is_written_into_the_folder() {
        assert_action(agreed(1, "a"), &file("a", Accepted), shared(&[(2, "b")]), Action::Install);
        assert_action(agreed(1, "a"), &file("a", Accepted), shared(&[(2, "")]), Action::Uninstall);
        assert_action(agreed(1, ""), &FolderFile::Nothing, shared(&[(2, "b")]), Action::Install);
        let broken = file("broken", Broken);
        assert_action(agreed(1, "a"), &broken, shared(&[(2, "b")]), Action::Install);
        assert_action(agreed(1, "a"), &FolderFile::Nothing, shared(&[(2, "b")]), Action::Install);
    }

    #[test]
    fn a_file_that_the_mirror_wrote_is_not_shared_again() {
        for state in [Accepted, Broken, Pending] {
            let folder_file = file("b", state);
            assert_action(agreed(2, "b"), &folder_file, shared(&[(2, "b")]), Action::Agree);
        }
    }

    #[test]
    fn a_change_of_the_folder_is_shared_when_the_scanner_has_accepted_it() {
        let store = || shared(&[(2, "a")]);
        assert_action(agreed(2, "a"), &file("b", Pending), store(), Action::Wait);
        assert_action(agreed(2, "a"), &file("b", Accepted), store(), Action::Share);
        assert_action(agreed(2, "a"), &file("b", Broken), store(), Action::Nothing);
        assert_action(agreed(2, "a"), &FolderFile::Unusable, store(), Action::Nothing);
        assert_action(agreed(2, "a"), &FolderFile::Nothing, store(), Action::Remove);
        assert_action(
            agreed(2, ""),
            &file("a", Accepted),
            shared(&[(2, ""), (1, "a")]),
            Action::Share,
        );
    }

    #[test]
    fn if_folder_and_store_have_changed_the_change_that_is_committed_last_wins() {
        let store = || shared(&[(2, "b"), (1, "a")]);
        assert_action(agreed(1, "a"), &file("c", Accepted), store(), Action::Share);
        assert_action(agreed(1, "a"), &file("c", Pending), store(), Action::Wait);
        let new = || Some(LastAgreement::without_connector());
        assert_action(new(), &file("c", Pending), store(), Action::Wait);
        assert_action(new(), &file("c", Accepted), store(), Action::Share);
        assert_action(new(), &FolderFile::Nothing, store(), Action::Install);
    }

    #[test]
    fn a_commit_whose_answer_was_lost_does_not_replace_a_later_decision() {
        let folder_file = file("b", Accepted);
        assert_action(agreed(1, "a"), &folder_file, shared(&[(2, "b"), (1, "a")]), Action::Agree);
        let later = shared(&[(3, "c"), (2, "b"), (1, "a")]);
        assert_action(agreed(1, "a"), &folder_file, later, Action::Install);
    }

    #[test]
    fn an_earlier_version_that_is_put_into_the_folder_is_a_change() {
        let folder_file = file("a", Accepted);
        assert_action(agreed(2, "b"), &folder_file, shared(&[(2, "b"), (1, "a")]), Action::Share);
    }

    #[test]
    fn the_same_content_with_another_extension_is_replaced() {
        let script =
            FolderFile::File { sha256: "a".to_owned(), kind: FileKind::Script, state: Broken };
        assert_action(None, &script, shared(&[(1, "a")]), Action::Install);
    }
}
