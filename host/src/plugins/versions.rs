//! Keeps the files of versions that were in use, so that a person can roll back to one of them. The
//! files are `NAME/SHA256.wasm` or `NAME/SHA256.js` in a folder of the data folder.
//!
//! When a version of a connector comes into use, the connector's oldest versions are deleted until
//! at most [`VERSIONS_MAX`] remain. Then the oldest versions of all connectors are deleted until at
//! most [`BYTES_MAX`] bytes remain.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use crate::domain::ConnectorName;

use super::file_kind::FileKind;
use super::install;
use super::loader::sha256_of;

const VERSIONS_MAX: usize = 5;
const BYTES_MAX: u64 = 2 << 30;

/// A kept version, which was in use before or is in use now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVersion {
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// The size of the file, bytes.
    pub bytes: u64,
    /// The last time at which the version came into use, or at which the server started with it. If
    /// the servers share the version, this is the time at which it was last chosen as the version
    /// that all servers use.
    pub used_from: SystemTime,
    /// The path where this server keeps the file, or will keep it after a fetch from the store.
    pub file: PathBuf,
}

/// The folder of kept versions.
pub(super) struct KeptVersions {
    /// Contains a folder for each connector.
    folder: PathBuf,
    write_lock: Mutex<()>,
}

impl KeptVersions {
    /// Deletes the unfinished files that a killed server left in the folder.
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        let folders = entries.filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.for_each(|it| install::delete_unfinished(&it.path(), Duration::ZERO));
        Self { folder, write_lock: Mutex::default() }
    }

    /// Keeps a copy of a connector's file that comes into use now, unless its content has changed
    /// since it was loaded.
    pub(super) fn keep(
        &self,
        name: &ConnectorName,
        sha256: &str,
        plugins: &Path,
        now: SystemTime,
    ) -> io::Result<()> {
        let _guard = self.write_lock.lock();
        let folder = self.folder.join(name.as_str());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let with_extension = |stem: PathBuf, kind: FileKind| stem.with_extension(kind.extension());
        let copies = FileKind::ALL.map(|kind| with_extension(folder.join(sha256), kind));
        let copy = match copies.into_iter().find(|copy| copy.exists()) {
            Some(copy) => copy,
            None => {
                let unchanged_file = FileKind::ALL.into_iter().find_map(|kind| {
                    let file = with_extension(plugins.join(name.as_str()), kind);
                    let content = fs::read(file).ok()?;
                    (sha256_of(&content) == sha256).then_some((kind, content))
                });
                let Some((kind, content)) = unchanged_file else { return Ok(()) };
                let copy = with_extension(folder.join(sha256), kind);
                install::write_atomically(&copy, &content, 0o600)?;
                copy
            }
        };
        File::open(&copy)?.set_modified(now)?;
        self.delete_surplus(name)
    }

    pub(super) fn path(&self, name: &ConnectorName, sha256: &str, kind: FileKind) -> PathBuf {
        self.folder.join(name.as_str()).join(sha256).with_extension(kind.extension())
    }

    /// Adds a version whose content was fetched from the store that the servers share.
    pub(super) fn add(
        &self,
        name: &ConnectorName,
        version: &KeptVersion,
        content: &[u8],
    ) -> io::Result<()> {
        let _guard = self.write_lock.lock();
        DirBuilder::new().recursive(true).mode(0o700).create(self.folder.join(name.as_str()))?;
        install::write_atomically(&version.file, content, 0o600)?;
        File::open(&version.file)?.set_modified(version.used_from)
    }

    /// Returns the kept versions of a connector, ordered by `used_from`, the newest first.
    pub(super) fn list(&self, name: &ConnectorName) -> Vec<KeptVersion> {
        let mut versions = versions_in(&self.folder.join(name.as_str()));
        versions.sort_by(|a, b| (b.used_from, &b.sha256).cmp(&(a.used_from, &a.sha256)));
        versions
    }

    /// Copies a version into the plugins folder atomically, and removes the connector's file of the
    /// other kind. Returns the path of the new file.
    pub(super) fn restore(
        &self,
        name: &ConnectorName,
        version: &KeptVersion,
        plugins: &Path,
    ) -> Result<PathBuf, RestoreError> {
        let _guard = self.write_lock.lock();
        let content = fs::read(&version.file).map_err(RestoreError::Unusable)?;
        if sha256_of(&content) != version.sha256 {
            let why = "the kept version was changed: its SHA-256 differs";
            return Err(RestoreError::Unusable(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        let kind = FileKind::of_path(&version.file).unwrap_or(FileKind::Component);
        let written = install::write_connector_file(plugins, name, kind, &content);
        written.map_err(RestoreError::NotWritten)
    }

    fn delete_surplus(&self, name: &ConnectorName) -> io::Result<()> {
        self.list(name)
            .into_iter()
            .skip(VERSIONS_MAX)
            .try_for_each(|version| fs::remove_file(version.file))?;
        let connectors = fs::read_dir(&self.folder)?.filter_map(Result::ok);
        let mut all_versions: Vec<_> =
            connectors.flat_map(|entry| versions_in(&entry.path())).collect();
        all_versions.sort_by_key(|version| version.used_from);
        let mut bytes: u64 = all_versions.iter().map(|version| version.bytes).sum();
        for version in all_versions {
            if bytes <= BYTES_MAX {
                break;
            }
            fs::remove_file(version.file)?;
            bytes -= version.bytes;
        }
        Ok(())
    }
}

/// The reason why a kept version was not restored.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    /// The kept file cannot be read, or was changed.
    #[error(transparent)]
    Unusable(io::Error),
    /// The plugins folder cannot be written.
    #[error(transparent)]
    NotWritten(io::Error),
}

/// The reason why there is no version to which a connector can be rolled back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoVersion {
    /// No version other than the current one is kept.
    #[error("no other version of the connector is kept")]
    NoOther,
    /// More than one kept version has a SHA-256 that begins with this text.
    #[error("the SHA-256 of more than one version begins with {0:?}: give more characters")]
    Ambiguous(String),
    /// No kept version has a SHA-256 that begins with this text.
    #[error(
        "no kept version has a SHA-256 that begins with {0:?}; `connectors show` lists the kept \
         versions"
    )]
    Unknown(String),
}

/// Returns the version whose hash begins with `to`, or, without `to`, the first one that is not
/// `current`.
pub(super) fn choose_version<'v>(
    versions: &'v [KeptVersion],
    current: Option<&str>,
    to: Option<&str>,
) -> Result<&'v KeptVersion, NoVersion> {
    let Some(prefix) = to else {
        let other = versions.iter().find(|version| Some(version.sha256.as_str()) != current);
        return other.ok_or(NoVersion::NoOther);
    };
    let prefix = prefix.to_ascii_lowercase();
    let mut matching = versions.iter().filter(|version| version.sha256.starts_with(&prefix));
    match (matching.next(), matching.next()) {
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
        let used_from = metadata.modified().ok()?;
        Some(KeptVersion { sha256, bytes: metadata.len(), used_from, file })
    };
    entries.filter_map(|entry| version(entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TestFolder {
        folder: tempfile::TempDir,
        versions: KeptVersions,
        name: ConnectorName,
    }

    impl TestFolder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("plugins")).unwrap();
            let versions = KeptVersions::in_folder(folder.path().join("versions"));
            Self { folder, versions, name: "c".parse().unwrap() }
        }

        fn plugin_path(&self, file: &str) -> PathBuf {
            self.folder.path().join("plugins").join(file)
        }

        /// Simulates that a file with this content came into use `age` seconds ago.
        fn put_into_use(&self, file: &str, content: &str, age: u64) -> String {
            let (path, sha256) = (self.plugin_path(file), sha256_of(content.as_bytes()));
            fs::write(&path, content).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - age);
            self.versions.keep(&self.name, &sha256, &self.plugin_path(""), at).unwrap();
            sha256
        }

        fn restore(&self, sha256: &str) -> Result<PathBuf, RestoreError> {
            let versions = self.versions.list(&self.name);
            let version = choose_version(&versions, None, Some(sha256)).unwrap();
            self.versions.restore(&self.name, version, &self.folder.path().join("plugins"))
        }
    }

    #[test]
    fn the_newest_versions_are_kept_and_the_version_before_the_current_one_is_chosen() {
        let home = TestFolder::new();
        let used: Vec<_> =
            (0..8).map(|n| home.put_into_use("c.wasm", &n.to_string(), 90 - n)).collect();
        let versions = home.versions.list(&home.name);
        let kept: Vec<_> = versions.iter().map(|it| it.sha256.clone()).collect();
        assert_eq!(kept, used.iter().rev().take(5).cloned().collect::<Vec<_>>());
        let chosen = |current: usize, to: Option<&str>| {
            choose_version(&versions, Some(&used[current]), to).map(|it| it.sha256.clone())
        };
        assert_eq!(chosen(7, None).as_ref(), Ok(&used[6]));
        assert_eq!(chosen(6, None).as_ref(), Ok(&used[7]), "a second rollback undoes the first");
        assert_eq!(chosen(7, Some(&used[4][..9])).as_ref(), Ok(&used[4]));
        assert_eq!(chosen(7, Some(&used[0])), Err(NoVersion::Unknown(used[0].clone())));
        assert_eq!(chosen(7, Some("")), Err(NoVersion::Ambiguous(String::new())));
        assert!(choose_version(&versions[..1], Some(&used[7]), None).is_err());
    }

    #[test]
    fn a_version_is_restored_with_its_extension_and_replaces_the_other_kind() {
        let home = TestFolder::new();
        let script = home.put_into_use("c.js", "a script", 9);
        fs::remove_file(home.plugin_path("c.js")).unwrap();
        let component = home.put_into_use("c.wasm", "a component", 5);
        fs::write(home.plugin_path("other.js"), "").unwrap();
        assert_eq!(home.restore(&script).unwrap(), home.plugin_path("c.js"));
        assert_eq!(fs::read_to_string(home.plugin_path("c.js")).unwrap(), "a script");
        assert!(!home.plugin_path("c.wasm").exists() && home.plugin_path("other.js").exists());
        home.restore(&component).unwrap();
        assert!(home.plugin_path("c.wasm").exists() && !home.plugin_path("c.js").exists());
    }

    #[test]
    fn an_unreadable_version_and_an_unwritable_folder_are_two_errors() {
        let home = TestFolder::new();
        let sha256 = home.put_into_use("c.wasm", "one", 5);
        fs::remove_dir_all(home.plugin_path("")).unwrap();
        assert!(matches!(home.restore(&sha256), Err(RestoreError::NotWritten(_))));
        let version = home.versions.list(&home.name).remove(0);
        fs::remove_file(&version.file).unwrap();
        let restored = home.versions.restore(&home.name, &version, &home.plugin_path(""));
        assert!(matches!(restored, Err(RestoreError::Unusable(_))));
    }

    #[test]
    fn a_changed_version_is_not_restored_and_a_changed_file_is_not_kept() {
        let home = TestFolder::new();
        let sha256 = home.put_into_use("c.wasm", "one", 5);
        let kept = home.versions.list(&home.name);
        fs::write(&kept[0].file, "another").unwrap();
        let changed = home.restore(&sha256).unwrap_err();
        assert!(matches!(changed, RestoreError::Unusable(_)), "{changed:?}");
        assert!(changed.to_string().contains("was changed"));
        assert_eq!(fs::read_to_string(home.plugin_path("c.wasm")).unwrap(), "one");
        let (plugins, now) = (home.plugin_path(""), SystemTime::UNIX_EPOCH);
        home.versions.keep(&home.name, &"0".repeat(64), &plugins, now).unwrap();
        assert_eq!(home.versions.list(&home.name).len(), 1);
    }
}
