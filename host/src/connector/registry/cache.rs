//! Compiled code on the disk, by content hash and engine fingerprint, with the manifest beside it:
//! what is here starts without compiling and without running the guest. Also the file that it was
//! compiled from, for an engine of another fingerprint.
//!
//! Compiled code is run as it is, so nobody else may write to this folder.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::connector::manifest::RawManifest;

/// What the names of unfinished things begin with.
const DESK: &str = ".unfinished-";

/// The folder of compiled code, owned by this user alone.
pub(super) struct Cache {
    folder: PathBuf,
}

/// The manifest as it lies beside its compiled code.
#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    version: String,
    summary: String,
    homepage: Option<String>,
    settings: String,
    settle_seconds: u32,
}

impl Cache {
    /// Opens the folder, creating it for this user alone.
    ///
    /// # Errors
    /// It cannot be made, or others own it or may write to it; says how to mend that.
    pub(super) fn open(folder: PathBuf) -> Result<Self, String> {
        let shown = folder.display();
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
            format!("the folder of compiled code {shown} cannot be made: {error}")
        })?;
        let found = fs::symlink_metadata(&folder)
            .map_err(|error| format!("the folder of compiled code {shown}: {error}"))?;
        if !found.is_dir() {
            return Err(format!("{shown} must be a folder; remove what is there"));
        }
        let user = rustix::process::geteuid().as_raw();
        if found.uid() != user {
            return Err(format!(
                "{shown} belongs to user {}, not to {user}: its code would be run; remove it",
                found.uid()
            ));
        }
        if found.mode() & 0o077 != 0 {
            return Err(format!(
                "{shown} is open to other users: its code would be run; `chmod 700` it, or better \
                 remove it"
            ));
        }
        let cache = Self { folder };
        cache.clear_desks().map_err(|error| format!("{}: {error}", cache.folder.display()))?;
        Ok(cache)
    }

    /// Removes what compilers left that were killed.
    fn clear_desks(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(DESK) {
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
            }
        }
        Ok(())
    }

    /// A folder to compile in, gone when dropped.
    pub(super) fn desk(&self) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix(DESK).tempdir_in(&self.folder)
    }

    /// Where the compiled code of a file lies or is to lie.
    pub(super) fn code(&self, sha256: &str, fingerprint: &str) -> PathBuf {
        self.folder.join(format!("{sha256}-{fingerprint}.cwasm"))
    }

    /// The file that a version was compiled from.
    pub(super) fn source(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.wasm"))
    }

    fn record(&self, sha256: &str, fingerprint: &str) -> PathBuf {
        self.folder.join(format!("{sha256}-{fingerprint}.json"))
    }

    /// The manifest of a version that was compiled and described before.
    pub(super) fn manifest(&self, sha256: &str, fingerprint: &str) -> Option<RawManifest> {
        let text = fs::read(self.record(sha256, fingerprint)).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        self.code(sha256, fingerprint).is_file().then_some(RawManifest {
            name: record.name,
            version: record.version,
            summary: record.summary,
            homepage: record.homepage,
            settings: record.settings,
            settle_seconds: record.settle_seconds,
        })
    }

    /// Completes a version: written last, so what has a manifest has its code.
    pub(super) fn keep_manifest(
        &self,
        sha256: &str,
        fingerprint: &str,
        manifest: &RawManifest,
    ) -> io::Result<()> {
        let record = Record {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            summary: manifest.summary.clone(),
            homepage: manifest.homepage.clone(),
            settings: manifest.settings.clone(),
            settle_seconds: manifest.settle_seconds,
        };
        let mut file = tempfile::Builder::new().prefix(DESK).tempfile_in(&self.folder)?;
        serde_json::to_writer(&mut file, &record)?;
        file.persist(self.record(sha256, fingerprint)).map_err(|error| error.error)?;
        Ok(())
    }

    /// Forgets what was compiled longest ago until at most `bytes_max` are left; never what `kept` (by
    /// SHA-256) needs with this fingerprint, nor what is younger than `before` and may be about to serve.
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
            let Some((sha256, of)) = name.to_str().and_then(version) else { continue };
            let about = fs::metadata(&entry)?;
            bytes += about.len();
            let compiled_at = about.modified()?;
            let needed = kept.contains(sha256) && of.is_none_or(|of| of == fingerprint);
            if compiled_at < before && !needed {
                unused.push((compiled_at, about.len(), entry));
            }
        }
        unused.sort();
        for (_, size, file) in unused {
            if bytes <= bytes_max {
                break;
            }
            fs::remove_file(&file)?;
            fs::remove_file(file.with_extension("json")).or_else(missing)?;
            bytes -= size;
        }
        Ok(())
    }

    /// Forgets a version whose files turned out unusable.
    pub(super) fn forget(&self, sha256: &str, fingerprint: &str) {
        for path in [self.record(sha256, fingerprint), self.code(sha256, fingerprint)] {
            if let Err(error) = fs::remove_file(&path).or_else(missing) {
                tracing::warn!(%error, path = %path.display(), "unusable compiled code stays");
            }
        }
    }
}

/// The version that a file of the folder belongs to, by SHA-256; of compiled code also the fingerprint.
fn version(file: &str) -> Option<(&str, Option<&str>)> {
    let Some(code) = file.strip_suffix(".cwasm") else {
        return Some((file.strip_suffix(".wasm")?, None));
    };
    let (sha256, fingerprint) = code.split_once('-')?;
    Some((sha256, Some(fingerprint)))
}

/// What is not there need not be removed.
fn missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_is_this_users_alone() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("cache");
        Cache::open(folder.clone()).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(Cache::open(folder).err().unwrap().contains("chmod 700"));
    }

    #[test]
    fn a_version_counts_once_it_has_code_and_manifest() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path().join("cache")).unwrap();
        let raw = RawManifest {
            name: "A".to_owned(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            homepage: None,
            settings: "{}".to_owned(),
            settle_seconds: 3,
        };
        cache.keep_manifest("aa", "f", &raw).unwrap();
        assert!(cache.manifest("aa", "f").is_none());
        fs::write(cache.code("aa", "f"), "x").unwrap();
        assert_eq!(cache.manifest("aa", "f").unwrap().settle_seconds, 3);
        assert!(cache.manifest("aa", "g").is_none());
        cache.forget("aa", "f");
        assert!(cache.manifest("aa", "f").is_none());
    }

    #[test]
    fn what_was_compiled_longest_ago_goes_first_and_what_serves_stays() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path().join("cache")).unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        for (sha256, seconds) in [("aa", 1), ("bb", 2), ("cc", 3), ("dd", 90)] {
            let code = cache.code(sha256, "f");
            fs::write(&code, [0; 10]).unwrap();
            fs::write(cache.record(sha256, "f"), "{}").unwrap();
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
                assert_eq!(cache.code(sha256, "f").exists(), cache.record(sha256, "f").exists());
                cache.code(sha256, "f").exists()
            };
            ["aa", "bb", "cc", "dd"].into_iter().filter(there).collect()
        };
        cache.prune(30, "f", &kept, at(50)).unwrap();
        assert_eq!(left(), ["aa", "cc", "dd"]);
        cache.prune(0, "f", &kept, at(50)).unwrap();
        assert_eq!(left(), ["aa", "dd"]);
        cache.prune(0, "g", &kept, at(50)).unwrap();
        assert_eq!(left(), ["dd"], "code of another engine serves nobody");
    }

    #[test]
    fn what_an_accepted_version_was_compiled_from_stays() {
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
    fn what_a_killed_compiler_left_is_cleared() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(home.path().join("cache")).unwrap();
        let desk = cache.desk().unwrap().keep();
        fs::write(desk.join("in.wasm"), "wasm").unwrap();
        Cache::open(home.path().join("cache")).unwrap();
        assert!(!desk.exists());
    }
}
