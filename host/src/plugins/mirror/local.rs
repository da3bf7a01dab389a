//! What the mirror reads and leaves in the plugins folder, besides connectors' files: a mark by
//! which it recognises the folder, and copies of files that it replaced.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
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
/// How much of its SHA-256 the name of a copy has.
const COPY_HASH_LENGTH: usize = 12;

/// A connector's file, with its content.
pub(super) enum LocalFile {
    Nothing,
    One { kind: FileKind, sha256: String, content: Vec<u8> },
    Unusable,
}

/// A folder, apart from its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FolderId {
    device: u64,
    inode: u64,
}

/// What the folder had for a name when it was compared, without its content.
pub(super) enum Compared {
    Nothing,
    One {
        kind: FileKind,
        sha256: String,
    },
    /// Two files, or one that cannot be read or is too large.
    Unusable,
}

impl Compared {
    /// Whether the folder still has that.
    pub(super) fn holds(&self, plugins: &Path, name: &ConnectorName) -> io::Result<bool> {
        for kind in FileKind::ALL {
            let file = install::path(plugins, name, kind);
            let holds = match self {
                Self::Unusable => true,
                Self::One { kind: of, sha256 } if *of == kind => {
                    let mut opened = match File::open(&file) {
                        Ok(opened) => opened,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                        Err(error) => return Err(error),
                    };
                    copy_hashed(&mut opened, &mut io::sink())? == *sha256
                }
                Self::Nothing | Self::One { .. } => !file.is_symlink() && !file.try_exists()?,
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }
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

    /// What it is, without its content.
    pub(super) fn without_content(self) -> Compared {
        match self {
            Self::Nothing => Compared::Nothing,
            Self::One { kind, sha256, .. } => Compared::One { kind, sha256 },
            Self::Unusable => Compared::Unusable,
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

/// Whether the folder has another file of the connector than this one, or none. One that cannot be
/// read may be this one.
pub(in crate::plugins) async fn has_other(
    plugins: &Path,
    name: &ConnectorName,
    sha256: &str,
    limits: &Limits,
) -> bool {
    match read(plugins, name, limits).await {
        LocalFile::Nothing => true,
        LocalFile::One { sha256: found, .. } => found != sha256,
        LocalFile::Unusable => false,
    }
}

/// Copies the files of a connector to names that are not those of connectors. The name of a copy
/// has the beginning of its SHA-256, so that no copy replaces another. Returns the copies.
pub(super) fn keep_copies(plugins: &Path, name: &ConnectorName) -> io::Result<Vec<PathBuf>> {
    let mut copies = Vec::new();
    for kind in FileKind::ALL {
        let file = install::path(plugins, name, kind);
        let mut source = match File::open(&file) {
            Ok(source) => source,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // It may be larger than a connector's file can be.
        let mut written = tempfile::Builder::new().prefix(".version-").tempfile_in(plugins)?;
        let sha256 = copy_hashed(&mut source, &mut written)?;
        written.as_file().set_permissions(source.metadata()?.permissions())?;
        written.as_file().sync_all()?;
        let beginning = sha256.get(..COPY_HASH_LENGTH).unwrap_or(&sha256);
        let copy = plugins.join(format!("{name}.{}.{beginning}.{REPLACED}", kind.extension()));
        written.persist(&copy).map_err(|error| error.error)?;
        copies.push(copy);
    }
    Ok(copies)
}

/// Copies a file. Returns its SHA-256.
fn copy_hashed(source: &mut File, target: &mut impl Write) -> io::Result<String> {
    let (mut buffer, mut hash) = (vec![0; 1 << 16], Sha256::new());
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => return Ok(HEXLOWER.encode(&hash.finalize())),
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(read);
        target.write_all(read)?;
    }
}

/// Which folder a path leads to: the same one as long as its file system stays mounted.
pub(super) fn id_of(plugins: &Path) -> io::Result<FolderId> {
    let metadata = fs::metadata(plugins)?;
    Ok(FolderId { device: metadata.dev(), inode: metadata.ino() })
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
        let copies = keep_copies(folder, &name).unwrap();
        assert_eq!(copies.len(), 2);
        fs::write(folder.join("c.js"), "three").unwrap();
        let later = keep_copies(folder, &name).unwrap();
        let contents = [&copies, &later].map(|all| {
            let of_script = all.iter().find(|copy| copy.to_string_lossy().contains("c.js."));
            fs::read_to_string(of_script.unwrap()).unwrap()
        });
        assert_eq!(contents, ["one", "three"], "a later copy replaced the first");
        let one = Compared::One { kind: FileKind::Script, sha256: sha256_of(b"three") };
        assert!(!one.holds(folder, &name).unwrap(), "the other file is not seen");
        fs::remove_file(folder.join("c.wasm")).unwrap();
        assert!(one.holds(folder, &name).unwrap());
        assert!(!Compared::Nothing.holds(folder, &name).unwrap());
        fs::write(folder.join("c.js"), "four").unwrap();
        assert!(!one.holds(folder, &name).unwrap(), "the file was replaced");
        install::remove(folder, &name).unwrap();
        assert!(Compared::Nothing.holds(folder, &name).unwrap());
        assert!(!one.holds(folder, &name).unwrap());
        std::os::unix::fs::symlink(folder.join("away"), folder.join("c.js")).unwrap();
        assert!(matches!(read(folder, &name, &limits).await, LocalFile::Unusable));
        assert!(!Compared::Nothing.holds(folder, &name).unwrap());
        fs::remove_file(folder.join("c.js")).unwrap();
        assert!(folder::list(folder.to_owned()).await.unwrap().is_empty());
        fs::write(folder.join("c.wasm"), "large").unwrap();
        assert!(matches!(read(folder, &name, &limits).await, LocalFile::Unusable));
    }
}
