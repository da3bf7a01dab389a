//! The files of the versions that served, so that a person can go back to one of them:
//! `NAME/SHA256.wasm` in a folder of the data folder.
//!
//! Never holds more than [`VERSIONS_MAX`] versions of a connector, and deletes the oldest above
//! [`BYTES_MAX`].

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::domain::ConnectorName;

use super::install;
use super::kind::FileKind;
use super::loader::sha256_of;

/// Maximum number of versions that are kept of each connector.
const VERSIONS_MAX: usize = 5;
/// Maximum size of all kept versions, bytes.
const BYTES_MAX: u64 = 2 << 30;

/// A version that served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVersion {
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// The size of the file, bytes.
    pub bytes: u64,
    /// The last time at which the version began to serve, or at which the server started with it.
    pub served_at: SystemTime,
    /// The file.
    pub file: PathBuf,
}

/// The folder of versions.
pub(super) struct Versions {
    folder: PathBuf,
    /// Held while files are written or deleted.
    writing: Mutex<()>,
}

impl Versions {
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder, writing: Mutex::default() }
    }

    /// Keeps a copy of a connector's file that begins to serve, unless its content has changed
    /// since.
    pub(super) fn keep(
        &self,
        name: &ConnectorName,
        sha256: &str,
        plugins: &Path,
        now: SystemTime,
    ) -> io::Result<()> {
        let _writing = self.writing.lock();
        let folder = self.folder.join(name.as_str());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let with_extension = |stem: PathBuf, kind: FileKind| stem.with_extension(kind.extension());
        let copies = FileKind::ALL.map(|kind| with_extension(folder.join(sha256), kind));
        let copy = match copies.into_iter().find(|copy| copy.exists()) {
            Some(copy) => copy,
            None => {
                let found = FileKind::ALL.into_iter().find_map(|kind| {
                    let file = with_extension(plugins.join(name.as_str()), kind);
                    let content = fs::read(file).ok()?;
                    (sha256_of(&content) == sha256).then_some((kind, content))
                });
                let Some((kind, content)) = found else { return Ok(()) };
                let copy = with_extension(folder.join(sha256), kind);
                install::write(&copy, &content, 0o600)?;
                copy
            }
        };
        File::open(&copy)?.set_modified(now)?;
        self.delete_surplus(name)
    }

    /// The path of a version's file.
    pub(super) fn path(&self, name: &ConnectorName, sha256: &str, kind: FileKind) -> PathBuf {
        self.folder.join(name.as_str()).join(sha256).with_extension(kind.extension())
    }

    /// Adds a version that served elsewhere.
    pub(super) fn add(
        &self,
        name: &ConnectorName,
        version: &KeptVersion,
        content: &[u8],
    ) -> io::Result<()> {
        let _writing = self.writing.lock();
        DirBuilder::new().recursive(true).mode(0o700).create(self.folder.join(name.as_str()))?;
        install::write(&version.file, content, 0o600)?;
        File::open(&version.file)?.set_modified(version.served_at)
    }

    /// The versions of a connector, the one that began to serve last first.
    pub(super) fn list(&self, name: &ConnectorName) -> Vec<KeptVersion> {
        let mut versions = versions_in(&self.folder.join(name.as_str()));
        versions.sort_by(|a, b| (b.served_at, &b.sha256).cmp(&(a.served_at, &a.sha256)));
        versions
    }

    /// Copies a version into the plugins folder, atomically, and removes the connector's file of
    /// another kind. Returns the path of the new file.
    ///
    /// # Errors
    /// The version was changed, or the plugins folder cannot be written.
    pub(super) fn restore(
        &self,
        name: &ConnectorName,
        version: &KeptVersion,
        plugins: &Path,
    ) -> io::Result<PathBuf> {
        let _writing = self.writing.lock();
        let content = fs::read(&version.file)?;
        if sha256_of(&content) != version.sha256 {
            let why = "the kept version was changed: its SHA-256 differs";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let kind = FileKind::of(&version.file).unwrap_or(FileKind::Component);
        install::put(plugins, name, kind, &content)
    }

    fn delete_surplus(&self, name: &ConnectorName) -> io::Result<()> {
        self.list(name)
            .into_iter()
            .skip(VERSIONS_MAX)
            .try_for_each(|it| fs::remove_file(it.file))?;
        let connectors = fs::read_dir(&self.folder)?.filter_map(Result::ok);
        let mut all: Vec<_> = connectors.flat_map(|entry| versions_in(&entry.path())).collect();
        all.sort_by_key(|version| version.served_at);
        let mut bytes: u64 = all.iter().map(|version| version.bytes).sum();
        for version in all {
            if bytes <= BYTES_MAX {
                break;
            }
            fs::remove_file(version.file)?;
            bytes -= version.bytes;
        }
        Ok(())
    }
}

/// Why there is no version to go back to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoVersion {
    /// Only the current version is kept.
    #[error("no other version of it is kept, so there is none to go back to")]
    NoOther,
    /// More than one kept version begins with this text.
    #[error("more than one version begins with {0:?}: give more characters")]
    Ambiguous(String),
    /// No kept version begins with this text.
    #[error("no version that is kept begins with {0:?}; `connectors show` lists them")]
    Unknown(String),
}

/// The version to go back to: the one whose hash begins with `to`, else the last one that served
/// and is not `current`.
pub(super) fn choose<'v>(
    versions: &'v [KeptVersion],
    current: Option<&str>,
    to: Option<&str>,
) -> Result<&'v KeptVersion, NoVersion> {
    let Some(prefix) = to else {
        let other = versions.iter().find(|it| Some(it.sha256.as_str()) != current);
        return other.ok_or(NoVersion::NoOther);
    };
    let prefix = prefix.to_ascii_lowercase();
    let mut fitting = versions.iter().filter(|it| it.sha256.starts_with(&prefix));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) if !prefix.is_empty() => Ok(only),
        (Some(_), _) => Err(NoVersion::Ambiguous(prefix)),
        (None, _) => Err(NoVersion::Unknown(prefix)),
    }
}

fn versions_in(folder: &Path) -> Vec<KeptVersion> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let version = |file: PathBuf| {
        let name = file.file_name()?.to_str()?;
        let (sha256, _) = name.split_once('.').filter(|(sha256, _)| sha256.len() == 64)?;
        let (sha256, metadata) = (sha256.to_owned(), fs::metadata(&file).ok()?);
        let served_at = metadata.modified().ok()?;
        Some(KeptVersion { sha256, bytes: metadata.len(), served_at, file })
    };
    entries.filter_map(|entry| version(entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct TestFolder {
        folder: tempfile::TempDir,
        versions: Versions,
        name: ConnectorName,
    }

    impl TestFolder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("plugins")).unwrap();
            let versions = Versions::in_folder(folder.path().join("versions"));
            Self { folder, versions, name: "c".parse().unwrap() }
        }

        fn plugin(&self, file: &str) -> PathBuf {
            self.folder.path().join("plugins").join(file)
        }

        /// Serves a content, `age` seconds ago.
        fn serve(&self, file: &str, content: &str, age: u64) -> String {
            let (path, sha256) = (self.plugin(file), sha256_of(content.as_bytes()));
            fs::write(&path, content).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - age);
            self.versions.keep(&self.name, &sha256, &self.plugin(""), at).unwrap();
            sha256
        }

        fn restore(&self, sha256: &str) -> io::Result<PathBuf> {
            let versions = self.versions.list(&self.name);
            let version = choose(&versions, None, Some(sha256)).unwrap();
            self.versions.restore(&self.name, version, &self.folder.path().join("plugins"))
        }
    }

    #[test]
    fn the_last_versions_are_kept_and_the_one_before_the_current_is_chosen() {
        let home = TestFolder::new();
        let served: Vec<_> = (0..8).map(|n| home.serve("c.wasm", &n.to_string(), 90 - n)).collect();
        let versions = home.versions.list(&home.name);
        let kept: Vec<_> = versions.iter().map(|it| it.sha256.clone()).collect();
        assert_eq!(kept, served.iter().rev().take(5).cloned().collect::<Vec<_>>());
        let chosen = |current: usize, to: Option<&str>| {
            choose(&versions, Some(&served[current]), to).map(|it| it.sha256.clone())
        };
        assert_eq!(chosen(7, None).as_ref(), Ok(&served[6]));
        assert_eq!(chosen(6, None).as_ref(), Ok(&served[7]), "a second time goes forward again");
        assert_eq!(chosen(7, Some(&served[4][..9])).as_ref(), Ok(&served[4]));
        assert_eq!(chosen(7, Some(&served[0])), Err(NoVersion::Unknown(served[0].clone())));
        assert_eq!(chosen(7, Some("")), Err(NoVersion::Ambiguous(String::new())));
        assert!(choose(&versions[..1], Some(&served[7]), None).is_err());
    }

    #[test]
    fn a_version_is_restored_with_its_extension_and_replaces_the_other_kind() {
        let home = TestFolder::new();
        let script = home.serve("c.js", "a script", 9);
        fs::remove_file(home.plugin("c.js")).unwrap();
        let component = home.serve("c.wasm", "a component", 5);
        fs::write(home.plugin("other.js"), "").unwrap();
        assert_eq!(home.restore(&script).unwrap(), home.plugin("c.js"));
        assert_eq!(fs::read_to_string(home.plugin("c.js")).unwrap(), "a script");
        assert!(!home.plugin("c.wasm").exists() && home.plugin("other.js").exists());
        home.restore(&component).unwrap();
        assert!(home.plugin("c.wasm").exists() && !home.plugin("c.js").exists());
    }

    #[test]
    fn a_changed_version_is_not_restored_and_a_changed_file_is_not_kept() {
        let home = TestFolder::new();
        let sha256 = home.serve("c.wasm", "one", 5);
        let kept = home.versions.list(&home.name);
        fs::write(&kept[0].file, "another").unwrap();
        assert!(home.restore(&sha256).unwrap_err().to_string().contains("was changed"));
        assert_eq!(fs::read_to_string(home.plugin("c.wasm")).unwrap(), "one");
        let (plugins, now) = (home.plugin(""), SystemTime::UNIX_EPOCH);
        home.versions.keep(&home.name, &"0".repeat(64), &plugins, now).unwrap();
        assert_eq!(home.versions.list(&home.name).len(), 1);
    }
}
