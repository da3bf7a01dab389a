//! The folder of compiled code: machine code and manifest by content hash and engine fingerprint, so that a
//! version starts without compiling it and without calling `describe`. Also the component itself, to compile
//! it again for another engine.
//!
//! The server runs this code unchecked, so no other user may write to the folder.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::manifest::RawManifest;

use super::error::StartError;

/// The names of temporary files and folders begin with it.
const TEMPORARY_PREFIX: &str = ".temporary-";

/// The folder of compiled code. Only this user has access to it.
pub(super) struct Cache {
    folder: PathBuf,
}

/// The file of a manifest.
#[derive(Serialize, Deserialize)]
struct ManifestFile {
    name: String,
    version: String,
    summary: String,
    homepage: Option<String>,
    settings: String,
    index_delay_seconds: Option<u32>,
}

impl Cache {
    /// Opens the folder; creates it with access for this user only.
    ///
    /// # Errors
    /// It cannot be created or read, or other users have access to it.
    pub(super) fn open(folder: PathBuf) -> Result<Self, StartError> {
        let mut builder = DirBuilder::new();
        if let Err(source) = builder.recursive(true).mode(0o700).create(&folder) {
            return Err(StartError::CreateFolder { folder, source });
        }
        let metadata = match fs::symlink_metadata(&folder) {
            Ok(metadata) => metadata,
            Err(source) => return Err(StartError::ReadFolder { folder, source }),
        };
        if !metadata.is_dir() {
            return Err(StartError::NotAFolder(folder));
        }
        let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != user {
            return Err(StartError::OtherOwner { folder, owner, user });
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(StartError::OpenToOthers(folder));
        }
        if let Err(source) = delete_temporary(&folder) {
            return Err(StartError::ReadFolder { folder, source });
        }
        Ok(Self { folder })
    }

    /// A folder to compile in; deleted when dropped.
    pub(super) fn temporary_folder(&self) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(&self.folder)
    }

    /// The path of a version's compiled code.
    pub(super) fn code(&self, sha256: &str, fingerprint: &str) -> PathBuf {
        self.folder.join(format!("{sha256}-{fingerprint}.cwasm"))
    }

    /// The path of the component that a version was compiled from.
    pub(super) fn source(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.wasm"))
    }

    fn manifest_path(&self, sha256: &str, fingerprint: &str) -> PathBuf {
        self.folder.join(format!("{sha256}-{fingerprint}.json"))
    }

    /// The manifest of a version that was compiled and described before.
    pub(super) fn manifest(&self, sha256: &str, fingerprint: &str) -> Option<RawManifest> {
        let text = fs::read(self.manifest_path(sha256, fingerprint)).ok()?;
        let file: ManifestFile = serde_json::from_slice(&text).ok()?;
        self.code(sha256, fingerprint).is_file().then_some(RawManifest {
            name: file.name,
            version: file.version,
            summary: file.summary,
            homepage: file.homepage,
            settings: file.settings,
            index_delay_seconds: file.index_delay_seconds,
        })
    }

    /// Writes a version's manifest. Call it last: a version that has a manifest is complete.
    pub(super) fn write_manifest(
        &self,
        sha256: &str,
        fingerprint: &str,
        manifest: &RawManifest,
    ) -> io::Result<()> {
        let content = ManifestFile {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            summary: manifest.summary.clone(),
            homepage: manifest.homepage.clone(),
            settings: manifest.settings.clone(),
            index_delay_seconds: manifest.index_delay_seconds,
        };
        let mut file =
            tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(&self.folder)?;
        serde_json::to_writer(&mut file, &content)?;
        file.persist(self.manifest_path(sha256, fingerprint)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Deletes the oldest files until at most `bytes_max` are left. Never deletes what a version in `kept`
    /// (by SHA-256) needs with this fingerprint, nor a file newer than `before`, which may serve soon.
    pub(super) fn prune(
        &self,
        bytes_max: u64,
        fingerprint: &str,
        kept: &BTreeSet<String>,
        before: SystemTime,
    ) -> io::Result<()> {
        let mut bytes = 0;
        let mut unused = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            let Some((sha256, of)) = name.to_str().and_then(version_of) else { continue };
            let metadata = fs::metadata(&entry)?;
            bytes += metadata.len();
            let compiled_at = metadata.modified()?;
            let needed = kept.contains(sha256) && of.is_none_or(|of| of == fingerprint);
            if compiled_at < before && !needed {
                unused.push((compiled_at, metadata.len(), entry));
            }
        }
        unused.sort();
        for (_, size, file) in unused {
            if bytes <= bytes_max {
                break;
            }
            fs::remove_file(&file)?;
            fs::remove_file(file.with_extension("json")).or_else(ignore_missing)?;
            bytes -= size;
        }
        Ok(())
    }

    /// Deletes a version whose files are unusable.
    pub(super) fn delete(&self, sha256: &str, fingerprint: &str) {
        for path in [self.manifest_path(sha256, fingerprint), self.code(sha256, fingerprint)] {
            if let Err(error) = fs::remove_file(&path).or_else(ignore_missing) {
                tracing::warn!(%error, path = %path.display(), "cannot delete unusable compiled code");
            }
        }
    }
}

/// Deletes what was left by a process that was killed while it compiled.
fn delete_temporary(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
    }
    Ok(())
}

/// The SHA-256 of the version that a file belongs to, and for compiled code the fingerprint.
fn version_of(file: &str) -> Option<(&str, Option<&str>)> {
    let Some(code) = file.strip_suffix(".cwasm") else {
        return Some((file.strip_suffix(".wasm")?, None));
    };
    let (sha256, fingerprint) = code.split_once('-')?;
    Some((sha256, Some(fingerprint)))
}

/// A file that does not exist need not be deleted.
fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_other_users_can_access_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("cache");
        Cache::open(folder.clone()).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
        let error = Cache::open(folder).err().unwrap();
        assert!(error.to_string().contains("chmod 700"), "{error}");
    }

    #[test]
    fn a_version_exists_when_it_has_code_and_manifest() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path().join("cache")).unwrap();
        let raw = RawManifest {
            name: "A".to_owned(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            homepage: None,
            settings: "{}".to_owned(),
            index_delay_seconds: Some(3),
        };
        cache.write_manifest("aa", "f", &raw).unwrap();
        assert!(cache.manifest("aa", "f").is_none());
        fs::write(cache.code("aa", "f"), "x").unwrap();
        assert_eq!(cache.manifest("aa", "f").unwrap().index_delay_seconds, Some(3));
        assert!(cache.manifest("aa", "g").is_none());
        cache.delete("aa", "f");
        assert!(cache.manifest("aa", "f").is_none());
    }

    #[test]
    fn the_oldest_code_is_deleted_first_and_code_that_serves_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path().join("cache")).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        for (sha256, seconds) in [("aa", 1), ("bb", 2), ("cc", 3), ("dd", 90)] {
            let code = cache.code(sha256, "f");
            fs::write(&code, [0; 10]).unwrap();
            fs::write(cache.manifest_path(sha256, "f"), "{}").unwrap();
            fs::File::options()
                .append(true)
                .open(&code)
                .unwrap()
                .set_modified(at(seconds))
                .unwrap();
        }
        let kept = BTreeSet::from(["aa".to_owned()]);
        let left = || -> Vec<&str> {
            let there = |sha256: &&str| {
                assert_eq!(
                    cache.code(sha256, "f").exists(),
                    cache.manifest_path(sha256, "f").exists()
                );
                cache.code(sha256, "f").exists()
            };
            ["aa", "bb", "cc", "dd"].into_iter().filter(there).collect()
        };
        cache.prune(30, "f", &kept, at(50)).unwrap();
        assert_eq!(left(), ["aa", "cc", "dd"]);
        cache.prune(0, "f", &kept, at(50)).unwrap();
        assert_eq!(left(), ["aa", "dd"]);
        cache.prune(0, "g", &kept, at(50)).unwrap();
        assert_eq!(left(), ["dd"], "no connector uses the code of another engine");
    }

    #[test]
    fn the_component_of_an_accepted_version_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path().join("cache")).unwrap();
        for sha256 in ["aa", "bb"] {
            fs::write(cache.source(sha256), "wasm").unwrap();
        }
        let later = fs::metadata(cache.source("bb")).unwrap().modified().unwrap()
            + std::time::Duration::from_secs(60);
        cache.prune(0, "g", &BTreeSet::from(["aa".to_owned()]), later).unwrap();
        assert!(cache.source("aa").exists() && !cache.source("bb").exists());
    }

    #[test]
    fn temporary_folders_of_a_killed_process_are_deleted() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path().join("cache")).unwrap();
        let left = cache.temporary_folder().unwrap().keep();
        fs::write(left.join("in.wasm"), "wasm").unwrap();
        Cache::open(home.path().join("cache")).unwrap();
        assert!(!left.exists());
    }
}
