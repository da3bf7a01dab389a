//! The rules of the mirror: what follows from what the folder has, what the servers decided, and
//! what both had when they agreed last.
//!
//! Pure: neither reads a file nor the store.

use crate::plugins::kind::FileKind;
use crate::store::SharedConnector;

/// What folder and store had when they agreed last, or this server changed one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Agreed {
    /// The decision.
    pub(super) revision: i64,
    /// SHA-256 of the file; `None`: the connector was removed.
    pub(super) sha256: Option<String>,
}

impl Agreed {
    /// Of a name that neither had: it came after the server had compared its folder.
    pub(super) fn on_nothing() -> Self {
        Self { revision: 0, sha256: None }
    }
}

/// What the folder has for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// No file.
    Nothing,
    /// A file that can be read.
    File { sha256: String, kind: FileKind, state: FileState },
    /// Two files, or one that cannot be read or is too large.
    Unusable,
}

/// What the scanner says about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileState {
    /// It is loaded.
    Accepted,
    /// It cannot be used.
    Broken,
    /// It was not loaded yet.
    Pending,
}

/// What the mirror does for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Folder and store agree: note that.
    Agree,
    /// Leave both as they are.
    Nothing,
    /// Decide when the scanner has loaded the file.
    Wait,
    /// Compare again soon: the folder is about to change, or has changed meanwhile.
    Again,
    /// Write the version that the servers use into the folder.
    Install,
    /// Remove the file from the folder.
    Uninstall,
    /// Make the file the version that the servers use.
    Share,
    /// Remove the connector at all servers.
    Remove,
}

/// Decides for one name.
pub(super) fn decide(
    agreed: Option<&Agreed>,
    found: &Found,
    shared: Option<&SharedConnector>,
) -> Action {
    let Some(shared) = shared else {
        return match found {
            Found::File { state: FileState::Accepted, .. } => Action::Share,
            Found::File { state: FileState::Pending, .. } => Action::Wait,
            _ => Action::Nothing,
        };
    };
    let current = shared.current();
    let agree = match (found, current) {
        (Found::Nothing, None) => true,
        (Found::File { sha256, kind, .. }, Some(current)) => {
            *sha256 == current.sha256 && (*kind == FileKind::Script) == current.is_script
        }
        _ => false,
    };
    if agree {
        return Action::Agree;
    }
    // Without an agreement, the folder is that of an earlier time: the store is right.
    let has_news = agreed.is_none_or(|agreed| agreed.revision < shared.revision);
    match (agreed, found) {
        (Some(Agreed { sha256: Some(_), .. }), Found::Nothing) if !has_news => {
            return Action::Remove;
        }
        (Some(agreed), Found::File { sha256, state, .. })
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
        _ if !has_news => Action::Nothing,
        Some(_) => Action::Install,
        None => Action::Uninstall,
    }
}

/// Whether a file of the folder was shared after the agreement: by this server, if the database's
/// answer was lost. A later decision has then replaced it.
fn was_shared_since(agreed: &Agreed, sha256: &str, shared: &SharedConnector) -> bool {
    let is_it = |version: &&crate::store::SharedVersion| version.sha256 == sha256;
    let version = shared.versions.iter().find(is_it);
    version.is_some_and(|version| version.revision > agreed.revision)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::SharedVersion;

    fn agreed(revision: i64, sha256: &str) -> Option<Agreed> {
        Some(Agreed { revision, sha256: (!sha256.is_empty()).then(|| sha256.to_owned()) })
    }

    fn file(sha256: &str, state: FileState) -> Found {
        Found::File { sha256: sha256.to_owned(), kind: FileKind::Component, state }
    }

    /// A connector with these versions, the last decision first; an empty name: it was removed.
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
        agreed: Option<Agreed>,
        found: &Found,
        shared: Option<SharedConnector>,
        expected: Action,
    ) {
        assert_eq!(decide(agreed.as_ref(), found, shared.as_ref()), expected, "{found:?}");
    }

    use FileState::{Accepted, Broken, Pending};

    #[test]
    fn a_server_that_starts_takes_what_the_store_has_and_adds_what_it_never_knew() {
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
        assert_action(None, &Found::Nothing, shared(&[(3, "new")]), Action::Install);
        assert_action(None, &Found::Nothing, shared(&[(3, "")]), Action::Agree);
        assert_action(None, &Found::Unusable, shared(&[(3, "new")]), Action::Install);
        assert_action(None, &file("own", Accepted), None, Action::Share);
        assert_action(None, &file("own", Pending), None, Action::Wait);
        assert_action(None, &file("own", Broken), None, Action::Nothing);
        assert_action(None, &Found::Nothing, None, Action::Nothing);
    }

    #[test]
    fn a_decision_of_another_server_is_written_into_the_folder() {
        assert_action(agreed(1, "a"), &file("a", Accepted), shared(&[(2, "b")]), Action::Install);
        assert_action(agreed(1, "a"), &file("a", Accepted), shared(&[(2, "")]), Action::Uninstall);
        assert_action(agreed(1, ""), &Found::Nothing, shared(&[(2, "b")]), Action::Install);
        let broken = file("broken", Broken);
        assert_action(agreed(1, "a"), &broken, shared(&[(2, "b")]), Action::Install);
        assert_action(agreed(1, "a"), &Found::Nothing, shared(&[(2, "b")]), Action::Install);
    }

    #[test]
    fn a_file_that_the_mirror_wrote_is_not_shared_again() {
        for state in [Accepted, Broken, Pending] {
            let found = file("b", state);
            assert_action(agreed(2, "b"), &found, shared(&[(2, "b")]), Action::Agree);
        }
    }

    #[test]
    fn a_change_of_the_folder_is_shared_once_the_scanner_accepts_it() {
        let now = || shared(&[(2, "a")]);
        assert_action(agreed(2, "a"), &file("b", Pending), now(), Action::Wait);
        assert_action(agreed(2, "a"), &file("b", Accepted), now(), Action::Share);
        assert_action(agreed(2, "a"), &file("b", Broken), now(), Action::Nothing);
        assert_action(agreed(2, "a"), &Found::Unusable, now(), Action::Nothing);
        assert_action(agreed(2, "a"), &Found::Nothing, now(), Action::Remove);
        assert_action(
            agreed(2, ""),
            &file("a", Accepted),
            shared(&[(2, ""), (1, "a")]),
            Action::Share,
        );
    }

    #[test]
    fn a_change_of_the_folder_that_is_committed_last_wins() {
        let others = || shared(&[(2, "b"), (1, "a")]);
        assert_action(agreed(1, "a"), &file("c", Accepted), others(), Action::Share);
        assert_action(agreed(1, "a"), &file("c", Pending), others(), Action::Wait);
        let new = || Some(Agreed::on_nothing());
        assert_action(new(), &file("c", Pending), others(), Action::Wait);
        assert_action(new(), &file("c", Accepted), others(), Action::Share);
        assert_action(new(), &Found::Nothing, others(), Action::Install);
    }

    #[test]
    fn a_commit_whose_answer_was_lost_is_not_repeated_over_a_later_one() {
        let found = file("b", Accepted);
        assert_action(agreed(1, "a"), &found, shared(&[(2, "b"), (1, "a")]), Action::Agree);
        let later = shared(&[(3, "c"), (2, "b"), (1, "a")]);
        assert_action(agreed(1, "a"), &found, later, Action::Install);
    }

    #[test]
    fn an_earlier_version_that_is_put_into_the_folder_is_a_change() {
        let found = file("a", Accepted);
        assert_action(agreed(2, "b"), &found, shared(&[(2, "b"), (1, "a")]), Action::Share);
    }

    #[test]
    fn the_same_content_with_another_extension_is_replaced() {
        let script = Found::File { sha256: "a".to_owned(), kind: FileKind::Script, state: Broken };
        assert_action(None, &script, shared(&[(1, "a")]), Action::Install);
    }
}
