//! Reads connectors' files in the plugins folder for the mirror, and writes two other kinds of
//! files there: a mark file by which the mirror recognises the folder, and copies of files that the
//! mirror is about to replace or remove.
//!
//! This file never writes or deletes a connector's file.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::domain::{ConnectorName, Limits};
use crate::plugins::catalog::CatalogEntry;
use crate::plugins::file_kind::FileKind;
use crate::plugins::loader::sha256_of;
use crate::plugins::{folder, install};
use crate::store::SharedConnector;

use super::rules::{FileState, FolderFile};

/// The file that marks a plugins folder whose connectors are the connectors of the store.
const MARK_FILE: &str = ".shared-connectors";
const MARK_TEXT: &[u8] =
    b"The connectors in this folder are those of the database: a file that is added, replaced or\n\
      deleted here changes them for all servers that use the database.\n";
const COPY_EXTENSION: &str = "replaced";
const COPY_HASH_LENGTH: usize = 12;

/// The file that the folder has for a connector, with its content.
pub(super) enum LocalFile {
    Nothing,
    One { kind: FileKind, sha256: String, content: Vec<u8> },
    Unusable,
}

/// The identity of a folder, which does not depend on its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FolderId {
    device: u64,
    inode: u64,
}

/// The file that the folder had for a connector when it was compared, without the content.
pub(super) enum ComparedFile {
    Nothing,
    One {
        kind: FileKind,
        sha256: String,
    },
    /// Two files, or a file that cannot be read or is too large.
    Unusable,
}

impl ComparedFile {
    /// Whether the folder still has the compared file; always true for [`Self::Unusable`].
    pub(super) fn is_unchanged(&self, plugins: &Path, name: &ConnectorName) -> io::Result<bool> {
        for kind in FileKind::ALL {
            let file = install::connector_file_path(plugins, name, kind);
            let is_unchanged = match self {
                Self::Unusable => true,
                Self::One { kind: compared_kind, sha256 } if *compared_kind == kind => {
                    let mut opened = match File::open(&file) {
                        Ok(opened) => opened,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                        Err(error) => return Err(error),
                    };
                    copy_and_hash(&mut opened, &mut io::sink())? == *sha256
                }
                Self::Nothing | Self::One { .. } => !file.is_symlink() && !file.try_exists()?,
            };
            if !is_unchanged {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What the scanner reports about a connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScannerState {
    /// SHA-256 of the loaded version.
    loaded_sha256: Option<String>,
    /// Whether the newest file of the connector cannot be used.
    has_failed: bool,
    /// SHA-256 of the file that cannot be used.
    broken_sha256: Option<String>,
}

impl ScannerState {
    pub(super) fn of(entry: &CatalogEntry) -> Self {
        Self {
            loaded_sha256: entry.newest_loaded.as_ref().map(|newest| newest.sha256().to_owned()),
            has_failed: entry.error.is_some(),
            broken_sha256: entry.broken_sha256.clone(),
        }
    }

    fn state_of_file(&self, sha256: &str) -> FileState {
        let is_this_file = |hash: &Option<String>| hash.as_deref() == Some(sha256);
        match (self.has_failed, &self.broken_sha256) {
            (false, _) if is_this_file(&self.loaded_sha256) => FileState::Accepted,
            (true, broken) if broken.is_none() || is_this_file(broken) => FileState::Broken,
            _ => FileState::Pending,
        }
    }
}

impl LocalFile {
    /// Whether the store has the file as one of the connector's versions; true if there is no file.
    pub(super) fn is_stored(&self, shared: &SharedConnector) -> bool {
        match self {
            Self::Nothing => true,
            Self::One { sha256, .. } => {
                shared.versions.iter().any(|version| version.sha256 == *sha256)
            }
            Self::Unusable => false,
        }
    }

    pub(super) fn without_content(self) -> ComparedFile {
        match self {
            Self::Nothing => ComparedFile::Nothing,
            Self::One { kind, sha256, .. } => ComparedFile::One { kind, sha256 },
            Self::Unusable => ComparedFile::Unusable,
        }
    }

    /// Returns what the rules need to know about this file.
    pub(super) fn to_folder_file(&self, scanned: Option<&ScannerState>) -> FolderFile {
        match self {
            Self::Nothing => FolderFile::Nothing,
            Self::Unusable => FolderFile::Unusable,
            Self::One { kind, sha256, .. } => FolderFile::File {
                sha256: sha256.clone(),
                kind: *kind,
                state: scanned.map_or(FileState::Pending, |scanned| scanned.state_of_file(sha256)),
            },
        }
    }
}

pub(super) async fn read_local_file(
    plugins: &Path,
    name: &ConnectorName,
    limits: &Limits,
) -> LocalFile {
    let mut local_file = LocalFile::Nothing;
    for kind in FileKind::ALL {
        let path = install::connector_file_path(plugins, name, kind);
        let read = folder::read_file(path, kind, limits).await;
        local_file = match (read, local_file) {
            (Ok(None), other_file) => other_file,
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
    local_file
}

/// Whether the folder has no file for the connector, or a file with another SHA-256. Returns false
/// if the folder has two files, or one that cannot be read or is too large.
pub(in crate::plugins) async fn has_other_file(
    plugins: &Path,
    name: &ConnectorName,
    sha256: &str,
    limits: &Limits,
) -> bool {
    match read_local_file(plugins, name, limits).await {
        LocalFile::Nothing => true,
        LocalFile::One { sha256: found, .. } => found != sha256,
        LocalFile::Unusable => false,
    }
}

/// Copies the files of a connector under names that the scanner ignores. The name of a copy
/// contains the beginning of its SHA-256, so that a copy does not replace an earlier one. Returns
/// the paths of the copies.
pub(super) fn keep_copies(plugins: &Path, name: &ConnectorName) -> io::Result<Vec<PathBuf>> {
    let mut copies = Vec::new();
    for kind in FileKind::ALL {
        let file = install::connector_file_path(plugins, name, kind);
        let mut source = match File::open(&file) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // The file may be larger than the limit for a connector's file, so it is not read into
        // memory.
        let mut written = install::unfinished_file().tempfile_in(plugins)?;
        let sha256 = copy_and_hash(&mut source, &mut written)?;
        written.as_file().set_permissions(source.metadata()?.permissions())?;
        written.as_file().sync_all()?;
        let beginning = sha256.get(..COPY_HASH_LENGTH).unwrap_or(&sha256);
        let copy =
            plugins.join(format!("{name}.{}.{beginning}.{COPY_EXTENSION}", kind.extension()));
        written.persist(&copy).map_err(|error| error.error)?;
        copies.push(copy);
    }
    Ok(copies)
}

fn copy_and_hash(source: &mut File, target: &mut impl Write) -> io::Result<String> {
    let (mut buffer, mut hash) = (vec![0; 1 << 16], Sha256::new());
    loop {
        let chunk = match source.read(&mut buffer) {
            Ok(0) => return Ok(HEXLOWER.encode(&hash.finalize())),
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(chunk);
        target.write_all(chunk)?;
    }
}

/// The identity changes if another file system is mounted at this path.
pub(super) fn folder_id(plugins: &Path) -> io::Result<FolderId> {
    let metadata = fs::metadata(plugins)?;
    Ok(FolderId { device: metadata.dev(), inode: metadata.ino() })
}

pub(super) fn set_mark(plugins: &Path) -> io::Result<()> {
    install::write_atomically(&plugins.join(MARK_FILE), MARK_TEXT, 0o644)
}

pub(super) fn has_mark(plugins: &Path) -> io::Result<bool> {
    plugins.join(MARK_FILE).try_exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(loaded: &str, has_failed: bool, broken: Option<&str>) -> ScannerState {
        let broken_sha256 = broken.map(str::to_owned);
        ScannerState { loaded_sha256: Some(loaded.to_owned()), has_failed, broken_sha256 }
    }

    #[test]
    fn a_file_is_accepted_or_broken_only_if_the_scanner_reports_this_content() {
        use FileState::{Accepted, Broken, Pending};
        for (scanned, state) in [
            (scanned("new", false, None), Accepted),
            (scanned("old", false, None), Pending),
            (scanned("old", true, Some("new")), Broken),
            (scanned("old", true, Some("other")), Pending),
            (scanned("old", true, None), Broken),
        ] {
            assert_eq!(scanned.state_of_file("new"), state, "{scanned:?}");
        }
    }

    #[tokio::test]
    async fn two_files_or_a_large_file_cannot_be_used_and_copies_are_not_connectors() {
        let home = tempfile::tempdir().unwrap();
        let (folder, name) = (home.path(), "c".parse().unwrap());
        let limits = Limits { component_bytes: 4, ..Limits::default() };
        assert!(matches!(read_local_file(folder, &name, &limits).await, LocalFile::Nothing));
        fs::write(folder.join("c.js"), "one").unwrap();
        let one = read_local_file(folder, &name, &limits).await;
        assert!(
            matches!(&one, LocalFile::One { kind: FileKind::Script, content, .. } if content == b"one")
        );
        fs::write(folder.join("c.wasm"), "two").unwrap();
        assert!(matches!(read_local_file(folder, &name, &limits).await, LocalFile::Unusable));
        let copies = keep_copies(folder, &name).unwrap();
        assert_eq!(copies.len(), 2);
        fs::write(folder.join("c.js"), "three").unwrap();
        let later = keep_copies(folder, &name).unwrap();
        let contents = [&copies, &later].map(|all| {
            let of_script = all.iter().find(|copy| copy.to_string_lossy().contains("c.js."));
            fs::read_to_string(of_script.unwrap()).unwrap()
        });
        assert_eq!(contents, ["one", "three"], "a later copy replaced the first");
        let one = ComparedFile::One { kind: FileKind::Script, sha256: sha256_of(b"three") };
        assert!(!one.is_unchanged(folder, &name).unwrap(), "the second file was not noticed");
        fs::remove_file(folder.join("c.wasm")).unwrap();
        assert!(one.is_unchanged(folder, &name).unwrap());
        assert!(!ComparedFile::Nothing.is_unchanged(folder, &name).unwrap());
        fs::write(folder.join("c.js"), "four").unwrap();
        assert!(!one.is_unchanged(folder, &name).unwrap(), "the file was replaced");
        install::remove_connector_files(folder, &name).unwrap();
        assert!(ComparedFile::Nothing.is_unchanged(folder, &name).unwrap());
        assert!(!one.is_unchanged(folder, &name).unwrap());
        std::os::unix::fs::symlink(folder.join("missing"), folder.join("c.js")).unwrap();
        assert!(matches!(read_local_file(folder, &name, &limits).await, LocalFile::Unusable));
        assert!(!ComparedFile::Nothing.is_unchanged(folder, &name).unwrap());
        fs::remove_file(folder.join("c.js")).unwrap();
        assert!(folder::list_files(folder.to_owned()).await.unwrap().is_empty());
        fs::write(folder.join("c.wasm"), "large").unwrap();
        assert!(matches!(read_local_file(folder, &name, &limits).await, LocalFile::Unusable));
    }
}
