//! The folder of compiled code. It contains the code and the manifest of a version, for each engine
//! for which the version was compiled. With both, the server loads the version without the compiler
//! and without a call of `describe`.
//!
//! The server runs this code without validating it. So users outside the folder's group must not
//! have access to the folder. A version is used only if its code and its manifest have not changed
//! since they were stored: a power cut may damage a file, and a backup may restore files of another
//! server.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::check_folder;
use crate::manifest::RawManifest;
use crate::runtime::CompiledFiles;
use crate::secret::{Sealed, Sealer, Secret};

use super::error::StartError;
use super::file_kind::FileKind;
use super::install::{self, ABANDONED_AGE, ignore_missing};

const TEMPORARY_PREFIX: &str = ".temporary-";
const DIGEST_BUFFER_BYTES: usize = 64 * 1024;

pub(super) struct Cache {
    folder: PathBuf,
    /// Seals the digests, so that only a process that has the folder's key can create a valid
    /// digest.
    sealer: Sealer,
}

/// The JSON of a manifest file.
#[derive(Serialize, Deserialize)]
struct ManifestFile {
    /// The sealed digest of the code and of `manifest`.
    digest: String,
    /// The manifest of the version; `None` for the runner of scripts.
    manifest: Option<ManifestJson>,
}

/// The manifest that `describe` returned, in the JSON of a manifest file.
#[derive(Serialize, Deserialize)]
struct ManifestJson {
    name: String,
    version: String,
    summary: String,
    homepage: Option<String>,
    settings: String,
    index_delay_seconds: Option<u32>,
}

impl Cache {
    /// Opens the folder, and deletes all temporary files. A new folder is private to this user.
    ///
    /// # Errors
    /// The folder cannot be created or read, or [`check_folder`] refuses it.
    pub(super) fn open(folder: PathBuf, sealer: Sealer) -> Result<Self, StartError> {
        Self::open_and_delete_temporary(folder, Duration::ZERO, || Ok(sealer))
    }

    /// Opens a folder that other processes may use at the same time, so only temporary files that
    /// are at least [`ABANDONED_AGE`] old are deleted. `sealer` is called after the folder was
    /// created.
    ///
    /// # Errors
    /// The errors of [`Self::open`], or the key cannot be used.
    pub(super) fn open_shared(
        folder: PathBuf,
        sealer: impl FnOnce() -> Result<Sealer, StartError>,
    ) -> Result<Self, StartError> {
        Self::open_and_delete_temporary(folder, ABANDONED_AGE, sealer)
    }

    fn open_and_delete_temporary(
        folder: PathBuf,
        abandoned_age: Duration,
        sealer: impl FnOnce() -> Result<Sealer, StartError>,
    ) -> Result<Self, StartError> {
        let mut builder = DirBuilder::new();
        if let Err(source) = builder.recursive(true).mode(0o700).create(&folder) {
            return Err(StartError::CreateFolder { folder, source });
        }
        check_folder(&folder)?;
        if let Err(source) = delete_temporary(&folder, abandoned_age) {
            return Err(StartError::ReadFolder { folder, source });
        }
        Ok(Self { folder, sealer: sealer()? })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates a temporary folder for a compilation.
    pub(super) fn temporary_folder(&self) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(&self.folder)
    }

    pub(super) fn code_path(&self, kind: FileKind, sha256: &str, fingerprint: &str) -> PathBuf {
        self.folder.join(format!("{sha256}-{fingerprint}.{}", kind.code_extension()))
    }

    /// Returns the path of the connector's file from which a version was compiled.
    pub(super) fn source_path(&self, kind: FileKind, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.{}", kind.extension()))
    }

    fn manifest_path(&self, sha256: &str, fingerprint: &str) -> PathBuf {
        self.folder.join(format!("{sha256}-{fingerprint}.json"))
    }

    /// Returns the stored manifest of a version, if neither its code nor its manifest has changed
    /// since.
    pub(super) fn manifest(
        &self,
        kind: FileKind,
        sha256: &str,
        fingerprint: &str,
    ) -> Option<RawManifest> {
        let manifest = self.read_if_unchanged(kind, sha256, fingerprint)?.manifest?;
        Some(RawManifest {
            name: manifest.name,
            version: manifest.version,
            summary: manifest.summary,
            homepage: manifest.homepage,
            settings: manifest.settings,
            index_delay_seconds: manifest.index_delay_seconds,
        })
    }

    /// Whether a version's code and manifest file for this engine are stored and have not changed.
    pub(super) fn has_code(&self, kind: FileKind, sha256: &str, fingerprint: &str) -> bool {
        self.read_if_unchanged(kind, sha256, fingerprint).is_some()
    }

    fn read_if_unchanged(
        &self,
        kind: FileKind,
        sha256: &str,
        fingerprint: &str,
    ) -> Option<ManifestFile> {
        let text = fs::read(self.manifest_path(sha256, fingerprint)).ok()?;
        let file: ManifestFile = serde_json::from_slice(&text).ok()?;
        let code = self.code_path(kind, sha256, fingerprint);
        let digest = compute_digest(&code, file.manifest.as_ref()).ok()?;
        let sealed = Sealed(BASE64.decode(file.digest.as_bytes()).ok()?);
        let context = seal_context(sha256, fingerprint);
        let stored_digest = self.sealer.open_sealed(&context, &sealed).ok();
        stored_digest.filter(|stored| stored.matches(&digest))?;
        Some(file)
    }

    /// Moves a connector's file and its compiled code into the folder, and syncs them to the disk.
    pub(super) async fn store(
        &self,
        kind: FileKind,
        sha256: &str,
        fingerprint: &str,
        files: &CompiledFiles,
    ) -> io::Result<()> {
        for (from, to) in [
            (&files.source, self.source_path(kind, sha256)),
            (&files.code, self.code_path(kind, sha256, fingerprint)),
        ] {
            tokio::fs::File::open(from).await?.sync_all().await?;
            tokio::fs::rename(from, to).await?;
        }
        tokio::fs::File::open(&self.folder).await?.sync_all().await
    }

    /// Writes the manifest of a version, and syncs it to the disk. Writing the manifest must be the
    /// last step of storing a version, because a version that has a manifest counts as complete.
    pub(super) fn write_manifest(
        &self,
        kind: FileKind,
        sha256: &str,
        fingerprint: &str,
        manifest: Option<&RawManifest>,
    ) -> io::Result<()> {
        let manifest = manifest.map(|manifest| ManifestJson {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            summary: manifest.summary.clone(),
            homepage: manifest.homepage.clone(),
            settings: manifest.settings.clone(),
            index_delay_seconds: manifest.index_delay_seconds,
        });
        let code = self.code_path(kind, sha256, fingerprint);
        let digest = Secret::new(compute_digest(&code, manifest.as_ref())?);
        let sealed = self.sealer.seal(&seal_context(sha256, fingerprint), &digest);
        let digest = BASE64.encode(&sealed.map_err(io::Error::other)?.0);
        let mut file = temporary_file(&self.folder)?;
        serde_json::to_writer(&mut file, &ManifestFile { digest, manifest })?;
        file.as_file().sync_all()?;
        file.persist(self.manifest_path(sha256, fingerprint)).map_err(|error| error.error)?;
        fs::File::open(&self.folder)?.sync_all()
    }

    /// Deletes the oldest files until at most `bytes_max` bytes remain, not counting manifests.
    /// Keeps the connectors' files and this engine's code of the `kept_versions` (SHA-256), and
    /// files that were written at `kept_since` or later.
    pub(super) fn prune(
        &self,
        bytes_max: u64,
        fingerprint: &str,
        kept_versions: &BTreeSet<String>,
        kept_since: SystemTime,
    ) -> io::Result<()> {
        let mut bytes = 0;
        let mut unused = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
            let Some((sha256, compiled_for)) = name.to_str().and_then(parse_file_name) else {
                continue;
            };
            // Another process may delete a file of a shared folder at the same time.
            let metadata = match fs::metadata(&entry) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            bytes += metadata.len();
            let compiled_at = metadata.modified()?;
            let is_needed = kept_versions.contains(sha256)
                && compiled_for.is_none_or(|engine| engine == fingerprint);
            if compiled_at < kept_since && !is_needed {
                unused.push((compiled_at, metadata.len(), entry));
            }
        }
        unused.sort();
        for (_, size, file) in unused {
            if bytes <= bytes_max {
                break;
            }
            fs::remove_file(&file).or_else(ignore_missing)?;
            fs::remove_file(file.with_extension("json")).or_else(ignore_missing)?;
            bytes -= size;
        }
        Ok(())
    }

    /// Deletes the code and the manifest of a version, but not the connector's file.
    pub(super) fn delete(&self, kind: FileKind, sha256: &str, fingerprint: &str) {
        let code = self.code_path(kind, sha256, fingerprint);
        for path in [self.manifest_path(sha256, fingerprint), code] {
            if let Err(error) = fs::remove_file(&path).or_else(ignore_missing) {
                tracing::warn!(%error, path = %path.display(), "cannot delete unusable compiled code");
            }
        }
    }
}

/// Returns the SHA-256 of a version's code, followed by the SHA-256 of its manifest.
fn compute_digest(code: &Path, manifest: Option<&ManifestJson>) -> io::Result<String> {
    let mut code = fs::File::open(code)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; DIGEST_BUFFER_BYTES]);
    loop {
        match code.read(&mut buffer)? {
            0 => break,
            length => hash.update(buffer.get(..length).unwrap_or_default()),
        }
    }
    let manifest = Sha256::digest(serde_json::to_vec(&manifest)?);
    Ok(HEXLOWER.encode(&hash.finalize()) + &HEXLOWER.encode(&manifest))
}

pub(super) fn temporary_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(folder)
}

/// Returns the context with which a digest is sealed, so that the digest is not valid for another
/// version or engine.
fn seal_context(sha256: &str, fingerprint: &str) -> String {
    format!("compiled/{sha256}-{fingerprint}")
}

fn delete_temporary(folder: &Path, age: Duration) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX);
        if is_temporary && install::is_older(&entry, age) {
            let deleted = match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            };
            deleted.or_else(ignore_missing)?;
        }
    }
    Ok(())
}

/// Returns the SHA-256 in the name of a connector's file or of compiled code. For compiled code,
/// also returns the fingerprint of its engine.
fn parse_file_name(file: &str) -> Option<(&str, Option<&str>)> {
    let (stem, extension) = file.rsplit_once('.')?;
    if FileKind::ALL.iter().any(|kind| extension == kind.extension()) {
        return Some((stem, None));
    }
    FileKind::ALL.iter().find(|kind| extension == kind.code_extension())?;
    let (sha256, fingerprint) = stem.split_once('-')?;
    Some((sha256, Some(fingerprint)))
}

#[cfg(test)]
mod tests;
