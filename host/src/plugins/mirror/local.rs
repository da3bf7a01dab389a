//! What the mirror reads and leaves in the plugins folder, besides connectors' files: a mark by which
//! it recognises the folder, and copies of files that it replaced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use crate::domain::{ConnectorName, Limits};
use crate::plugins::catalog::Entry;
use crate::plugins::kind::FileKind;
use crate::plugins::loader::sha256_of;
use crate::plugins::{folder, install};
use crate::store::SharedConnector;

use super::rules::{FileState, Found};

/// The file that marks a folder whose files are those of a store.
const MARK_FILE: &str = ".shared-connectors";
const MARK_TEXT: &[u8] =
    b"The connectors in this folder are those of the database: a file that is added, replaced or\n\
      deleted here changes them for all servers that use the database.\n";
/// What the name of a copy of a replaced file ends with.
const REPLACED: &str = "replaced";

/// A connector's file, with its content.
pub(super) enum LocalFile {
    Nothing,
    One { kind: FileKind, sha256: String, content: Vec<u8> },
    Unusable,
}

/// What the scanner says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scanned {
    loaded: Option<String>,
    failed: bool,
    broken: Option<String>,
}

impl Scanned {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            loaded: entry.newest_loaded.as_ref().map(|it| it.sha256().to_owned()),
            failed: entry.error.is_some(),
            broken: entry.broken_sha256.clone(),
        }
    }

    fn state(&self, sha256: &str) -> FileState {
        let is = |hash: &Option<String>| hash.as_deref() == Some(sha256);
        match (self.failed, &self.broken) {
            (false, _) if is(&self.loaded) => FileState::Accepted,
            (true, broken) if broken.is_none() || is(broken) => FileState::Broken,
            _ => FileState::Pending,
        }
    }
}

impl LocalFile {
    /// Whether the store keeps this content among the versions of the connector.
    pub(super) fn is_in(&self, shared: &SharedConnector) -> bool {
        match self {
            Self::Nothing => true,
            Self::One { sha256, .. } => shared.versions.iter().any(|it| it.sha256 == *sha256),
            Self::Unusable => false,
        }
    }

    /// What the rules need to know of it.
    pub(super) fn found(&self, scanned: Option<&Scanned>) -> Found {
        match self {
            Self::Nothing => Found::Nothing,
            Self::Unusable => Found::Unusable,
            Self::One { kind, sha256, .. } => Found::File {
                sha256: sha256.clone(),
                kind: *kind,
                state: scanned.map_or(FileState::Pending, |it| it.state(sha256)),
            },
        }
    }
}

/// Reads the file of a connector.
pub(super) async fn read(plugins: &Path, name: &ConnectorName, limits: &Limits) -> LocalFile {
    let mut found = LocalFile::Nothing;
    for kind in FileKind::ALL {
        let read = folder::read(install::path(plugins, name, kind), kind, limits).await;
        found = match (read, found) {
            (Ok(None), found) => found,
            (Ok(Some(content)), LocalFile::Nothing) => {
                let hashing = spawn_blocking(move || (sha256_of(&content), content));
                match hashing.await {
                    Ok((sha256, content)) => LocalFile::One { kind, sha256, content },
                    Err(_) => LocalFile::Unusable,
                }
            }
            _ => LocalFile::Unusable,
        };
    }
    found
}

/// Copies the files of a connector to names that are not those of connectors. Returns the copies.
pub(super) fn keep_copies(plugins: &Path, name: &ConnectorName) -> io::Result<Vec<PathBuf>> {
    let mut copies = Vec::new();
    for kind in FileKind::ALL {
        let file = install::path(plugins, name, kind);
        let copy = plugins.join(format!("{name}.{}.{REPLACED}", kind.extension()));
        match fs::copy(&file, &copy) {
            Ok(_) => copies.push(copy),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(copies)
}

/// Marks the folder.
pub(super) fn set_mark(plugins: &Path) -> io::Result<()> {
    install::write(&plugins.join(MARK_FILE), MARK_TEXT, 0o644)
}

/// Whether the folder has the mark.
pub(super) fn has_mark(plugins: &Path) -> io::Result<bool> {
    plugins.join(MARK_FILE).try_exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(loaded: &str, failed: bool, broken: Option<&str>) -> Scanned {
        let broken = broken.map(str::to_owned);
        Scanned { loaded: Some(loaded.to_owned()), failed, broken }
    }

    #[test]
    fn a_file_counts_as_accepted_or_broken_only_if_the_scanner_means_this_content() {
        use FileState::{Accepted, Broken, Pending};
        for (scanned, state) in [
            (scanned("new", false, None), Accepted),
            (scanned("old", false, None), Pending),
            (scanned("old", true, Some("new")), Broken),
            (scanned("old", true, Some("other")), Pending),
            (scanned("old", true, None), Broken),
        ] {
            assert_eq!(scanned.state("new"), state, "{scanned:?}");
        }
    }

    #[tokio::test]
    async fn two_files_and_a_large_one_cannot_be_used_and_copies_are_no_connectors() {
        let home = tempfile::tempdir().unwrap();
        let (folder, name) = (home.path(), "c".parse().unwrap());
        let limits = Limits { component_bytes: 4, ..Limits::default() };
        assert!(matches!(read(folder, &name, &limits).await, LocalFile::Nothing));
        fs::write(folder.join("c.js"), "one").unwrap();
        let one = read(folder, &name, &limits).await;
        assert!(
            matches!(&one, LocalFile::One { kind: FileKind::Script, content, .. } if content == b"one")
        );
        fs::write(folder.join("c.wasm"), "two").unwrap();
        assert!(matches!(read(folder, &name, &limits).await, LocalFile::Unusable));
        assert_eq!(keep_copies(folder, &name).unwrap().len(), 2);
        assert_eq!(fs::read_to_string(folder.join("c.js.replaced")).unwrap(), "one");
        install::remove(folder, &name).unwrap();
        assert!(folder::list(folder.to_owned()).await.unwrap().is_empty());
        fs::write(folder.join("c.wasm"), "large").unwrap();
        assert!(matches!(read(folder, &name, &limits).await, LocalFile::Unusable));
    }
}
