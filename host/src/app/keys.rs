//! The key that seals secrets: found at the start, replaced while no server runs.
//!
//! Never deletes a key that may be needed: the new key file is beside the old one until the database is sealed
//! with it, and the next start finishes a rotation that a crash interrupted. A key from the environment is
//! not stored.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::DataFolder;
use crate::secret::{KEY_VARIABLE, NEW_KEY_VARIABLE, Sealer, Secret, SecretError};
use crate::store::SqliteStore;

use super::lock::DataLock;

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Secrets that were sealed again.
    pub secrets: usize,
    /// The file that holds the new key; absent where the key came from the environment.
    pub file: Option<PathBuf>,
}

/// Seals every secret in a data folder with a new key: a fresh one in the folder's key file, or the
/// one in `JACKFIELD_NEW_SECRET_KEY`.
///
/// # Errors
/// A server runs there, the old key is missing or wrong, or the disk failed. The old key
/// stays valid then.
pub async fn rotate_key(data: &Path) -> anyhow::Result<Rotated> {
    let folder = DataFolder::at(data);
    let database = folder.database();
    if !database.exists() {
        bail!("{} does not exist: name the server's data folder by --data", database.display());
    }
    let _lock = DataLock::acquire(&folder, Duration::ZERO).await?;
    let old = sealer(&folder).await?;
    let (file, next) = (folder.secret_key(), folder.next_secret_key());
    if let Some(key) = Secret::from_variable(NEW_KEY_VARIABLE)? {
        let new = Sealer::from_text(key.reveal(), NEW_KEY_VARIABLE)?;
        let secrets = SqliteStore::reseal(&database, &old, &new)?;
        // The operator keeps the new key; the old one is needed only for backups.
        if file.exists() {
            let old = folder.old_secret_key();
            fs::rename(&file, &old).with_context(|| format!("cannot move {}", file.display()))?;
        }
        return Ok(Rotated { secrets, file: None });
    }
    if Secret::from_variable(KEY_VARIABLE)?.is_some() {
        bail!("the key comes from {KEY_VARIABLE}: set the new one in {NEW_KEY_VARIABLE}");
    }
    let new = Sealer::open(None, &next)?;
    let secrets = SqliteStore::reseal(&database, &old, &new)?;
    replace_key(&next, &file)?;
    Ok(Rotated { secrets, file: Some(file) })
}

/// The key of a data folder, created where there is neither key nor database.
pub(super) async fn sealer(folder: &DataFolder) -> anyhow::Result<Sealer> {
    let variable = Secret::from_variable(KEY_VARIABLE)?;
    let (file, database) = (folder.secret_key(), folder.database());
    finish_rotation(folder).await?;
    if variable.is_none() && database.exists() && !file.exists() {
        bail!(
            "{} is missing, and the secrets in {} cannot be decrypted with another key: restore the \
             file, or set {KEY_VARIABLE}",
            file.display(),
            database.display()
        );
    }
    Ok(Sealer::open(variable.as_ref().map(Secret::reveal), &file)?)
}

/// Finishes or undoes an interrupted rotation: the database shows which key it is sealed with.
async fn finish_rotation(folder: &DataFolder) -> anyhow::Result<()> {
    let next = folder.next_secret_key();
    if !next.exists() {
        return Ok(());
    }
    let is_rotated = match Sealer::open(None, &next) {
        Ok(sealer) => SqliteStore::opens_with(&folder.database(), &sealer)?,
        // The crash came while the file was written, so the database is not sealed with it.
        Err(SecretError::NotAKey(_)) => false,
        Err(error) => return Err(error.into()),
    };
    if is_rotated {
        return replace_key(&next, &folder.secret_key());
    }
    fs::remove_file(&next).with_context(|| format!("cannot remove {}", next.display()))
}

/// Replaces the old key by the new one, durably.
fn replace_key(next: &Path, file: &Path) -> anyhow::Result<()> {
    let moved = fs::rename(next, file).and_then(|()| match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    });
    moved.with_context(|| format!("cannot move {} to {}", next.display(), file.display()))
}
