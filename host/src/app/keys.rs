//! The key that seals the secrets: found at the start, replaced while no server runs.
//!
//! No key file is ever removed: a new one lies beside the old until the database is sealed with it, and the
//! next start finishes what a crash cut off. A key from the environment is kept by whoever gives it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::open_data;
use crate::secret::{KEY_VARIABLE, NEW_KEY_VARIABLE, Sealer, SecretError};
use crate::store::SqliteStore;

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Secrets sealed anew.
    pub secrets: usize,
    /// The file that holds the new key; absent where the key came from the environment.
    pub file: Option<PathBuf>,
}

/// Seals every secret in a data folder with a new key: a fresh one in the folder's key file, or the
/// one in `JACKFIELD_NEW_SECRET_KEY`.
///
/// # Errors
/// A server runs there, the old key is missing or wrong, or the disk failed. The old key still
/// holds then.
pub async fn rotate_key(data: &Path) -> anyhow::Result<Rotated> {
    let database = database(data);
    if !database.exists() {
        bail!("{} is not there: name the server's data folder by --data", database.display());
    }
    let _lock = open_data(data)?;
    let old = sealer(data).await?;
    let (file, next) = (key_file(data), next_file(data));
    if let Ok(text) = std::env::var(NEW_KEY_VARIABLE) {
        let new = Sealer::from_text(&text, NEW_KEY_VARIABLE)?;
        let secrets = SqliteStore::reseal(&database, &old, &new).await?;
        // Whoever gives the key keeps it; the old one opens nothing but backups any more.
        if file.exists() {
            let old = data.join("secret-key.old");
            fs::rename(&file, &old).with_context(|| format!("cannot move {}", file.display()))?;
        }
        return Ok(Rotated { secrets, file: None });
    }
    if std::env::var_os(KEY_VARIABLE).is_some() {
        bail!("the key comes from {KEY_VARIABLE}: give the new one in {NEW_KEY_VARIABLE}");
    }
    let new = Sealer::open(None, &next)?;
    let secrets = SqliteStore::reseal(&database, &old, &new).await?;
    take(&next, &file)?;
    Ok(Rotated { secrets, file: Some(file) })
}

/// The key of a data folder, made where there is neither key nor database.
pub(super) async fn sealer(data: &Path) -> anyhow::Result<Sealer> {
    let variable = std::env::var(KEY_VARIABLE).ok();
    let (file, database) = (key_file(data), database(data));
    finish_rotation(data).await?;
    if variable.is_none() && database.exists() && !file.exists() {
        bail!(
            "{} is missing, and the secrets in {} open with no other key: put the file back, or \
             set {KEY_VARIABLE}",
            file.display(),
            database.display()
        );
    }
    Ok(Sealer::open(variable.as_deref(), &file)?)
}

/// The database says which key holds: the one beside the key file, or still the old one.
async fn finish_rotation(data: &Path) -> anyhow::Result<()> {
    let next = next_file(data);
    if !next.exists() {
        return Ok(());
    }
    let sealed_anew = match Sealer::open(None, &next) {
        Ok(sealer) => SqliteStore::opens_with(&database(data), &sealer).await?,
        // Cut off while it was written: the database cannot know it.
        Err(SecretError::NoKey(_)) => false,
        Err(error) => return Err(error.into()),
    };
    if sealed_anew {
        return take(&next, &key_file(data));
    }
    fs::remove_file(&next).with_context(|| format!("cannot remove {}", next.display()))
}

/// Puts the new key in the old one's place, durably.
fn take(next: &Path, file: &Path) -> anyhow::Result<()> {
    let moved = fs::rename(next, file).and_then(|()| match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    });
    moved.with_context(|| format!("cannot move {} to {}", next.display(), file.display()))
}

/// The database of a data folder.
pub(super) fn database(data: &Path) -> PathBuf {
    data.join("jackfield.db")
}

fn key_file(data: &Path) -> PathBuf {
    data.join("secret-key")
}

fn next_file(data: &Path) -> PathBuf {
    data.join("secret-key.next")
}
