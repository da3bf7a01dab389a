//! The key that seals secrets. The server reads this key at its start. A rotation replaces the key
//! while no server runs.
//!
//! This module never deletes a key that may still be needed: both key files exist until the
//! database is sealed with the new key. If a crash interrupts a rotation, the next start finishes
//! or undoes the rotation. A key from the environment is never stored.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use uuid::Uuid;

use crate::config::DataFolder;
use crate::domain::{Account, AuditEntry, AuditId, Clock as _, OutcomeCode, SystemClock, Via};
use crate::secret::{KEY_VARIABLE, NEW_KEY_VARIABLE, Sealer, Secret, SecretError};
use crate::store::SqliteStore;

use super::lock::DataLock;

/// The result of a key rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationResult {
    /// The number of secrets that were sealed again.
    pub resealed_secrets: usize,
    /// The file that contains the new key; `None` if the new key came from the environment.
    pub key_file: Option<PathBuf>,
}

/// Seals every secret in a data folder with a new key: the key in `JACKFIELD_NEW_SECRET_KEY`, or
/// else a random key that is written to the folder's key file.
///
/// # Errors
/// A server uses the folder, the old key is missing or wrong, or the disk failed. After an error,
/// the database is still sealed with the old key, except in two cases: a key file could not be
/// moved, or the log of the database could not be emptied. Then it is sealed with the new key.
pub async fn rotate_key(data: &Path) -> anyhow::Result<RotationResult> {
    let folder = DataFolder::at(data);
    let database = folder.database();
    if !database.exists() && folder.postgres_starts().exists() {
        bail!("the store is in PostgreSQL: the key of its secrets cannot be rotated");
    }
    if !database.exists() {
        bail!("{} does not exist: set the server's data folder with --data", database.display());
    }
    let _lock = DataLock::acquire(&folder, Duration::ZERO).await?;
    let old = open_sealer(&folder).await?;
    let (file, next_file) = (folder.secret_key(), folder.next_secret_key());
    if let Some(key) = Secret::from_variable(NEW_KEY_VARIABLE)? {
        let new = Sealer::from_text(key.reveal(), NEW_KEY_VARIABLE)?;
        let resealed_secrets =
            SqliteStore::reseal(&database, &old, &new, audit_entry("secrets.rotate"))?;
        // The operator stores the new key. The old key file is kept under another name, because
        // earlier backups need it.
        if file.exists() {
            let old = folder.old_secret_key();
            fs::rename(&file, &old).with_context(|| format!("cannot move {}", file.display()))?;
        }
        return Ok(RotationResult { resealed_secrets, key_file: None });
    }
    if Secret::from_variable(KEY_VARIABLE)?.is_some() {
        bail!("the key comes from {KEY_VARIABLE}: set the new key in {NEW_KEY_VARIABLE}");
    }
    let new = Sealer::load_or_create(None, &next_file)?;
    let resealed_secrets =
        SqliteStore::reseal(&database, &old, &new, audit_entry("secrets.rotate"))?;
    replace_key(&next_file, &file)?;
    Ok(RotationResult { resealed_secrets, key_file: Some(file) })
}

/// Creates an entry of the audit log. Its account is the admin, because a person who can write to
/// the data folder has the rights of the admin.
pub(super) fn audit_entry(action: &str) -> AuditEntry {
    let Account { name, role, .. } = Account::admin();
    AuditEntry {
        id: AuditId(Uuid::now_v7()),
        at: SystemClock.now(),
        account: Some(name),
        role: Some(role),
        client: Ipv4Addr::LOCALHOST.into(),
        via: Via::Cli,
        action: action.to_owned(),
        object: None,
        outcome: Some(OutcomeCode::Ok),
        event: None,
        repeats: 0,
    }
}

/// Reads the key that seals secrets: from the environment, or else from the data folder. If there
/// is no key, creates one, unless secrets may already be sealed with another key.
pub(super) async fn open_sealer(folder: &DataFolder) -> anyhow::Result<Sealer> {
    let variable = Secret::from_variable(KEY_VARIABLE)?;
    let file = folder.secret_key();
    finish_rotation(folder).await?;
    // With PostgreSQL, the folder has no database, but a file with the number of starts.
    let (database, starts) = (folder.database(), folder.postgres_starts());
    if variable.is_none() && (database.exists() || starts.exists()) && !file.exists() {
        let for_a_new_database = match database.exists() {
            true => String::new(),
            false => format!("; if the database is new and empty, remove {}", starts.display()),
        };
        bail!(
            "{} is missing, and the secrets in the database cannot be decrypted with another key: \
             restore the file, or set {KEY_VARIABLE}{for_a_new_database}",
            file.display()
        );
    }
    Ok(Sealer::load_or_create(variable.as_ref().map(Secret::reveal), &file)?)
}

/// Handles an interrupted rotation: finishes the rotation if the database is sealed with the new
/// key, and otherwise undoes the rotation.
async fn finish_rotation(folder: &DataFolder) -> anyhow::Result<()> {
    let next = folder.next_secret_key();
    if !next.exists() {
        return Ok(());
    }
    let is_rotated = match Sealer::load_or_create(None, &next) {
        Ok(sealer) => SqliteStore::is_sealed_with(&folder.database(), &sealer)?,
        // The crash happened while the key file was written, so the database is not sealed with
        // this key.
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
