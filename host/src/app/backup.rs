//! Backs up a data folder, even while its server runs. Restores a backup while no server runs.
//!
//! The key is put into a backup only on request, because every secret can be read with the database
//! and the key. This module never deletes a database or a key that a restoration replaces.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use zeroize::Zeroizing;

use crate::config::{DataFolder, database_logs, read_private};
use crate::domain::{Clock as _, SystemClock};
use crate::secret::{KEY_VARIABLE, Sealer, Secret, write_private};
use crate::store::{SqliteStore, TableRows};

use super::keys::audit_entry;
use super::lock::DataLock;

/// The extension of a copy while its content is being written.
const INCOMPLETE_EXTENSION: &str = "incomplete";

/// The result of a backup or of a restoration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyResult {
    /// The number of rows of each table.
    pub tables: Vec<TableRows>,
    /// The number of connector files in the source.
    pub connector_files: usize,
    /// The file to which the key was copied; `None` if the key was not copied.
    pub key: Option<PathBuf>,
    /// The new path of the database that a restoration replaced; `None` if it replaced no database.
    pub replaced_database: Option<PathBuf>,
}

/// Writes a backup of a data folder to a new folder: the database, the versions of the connectors,
/// and the key if `with_key` is true. A server may run meanwhile. The database file gets its name
/// last, so a folder with a database is a complete backup.
///
/// # Errors
/// The database or the key to copy is missing, the target is not empty, or the disk failed.
pub fn back_up(data: &Path, backup_folder: &Path, with_key: bool) -> anyhow::Result<CopyResult> {
    let (source, target) = (DataFolder::at(data), DataFolder::at(backup_folder));
    let database = source.database();
    if !database.exists() && source.postgres_starts().exists() {
        bail!(
            "the store of {} is in PostgreSQL: back it up with pg_dump, as \
             docs/postgresql.md describes",
            data.display()
        );
    }
    if !database.exists() {
        bail!("{} does not exist: set the server's data folder with --data", database.display());
    }
    let write_context = || format!("cannot write to {}", backup_folder.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(backup_folder)
        .with_context(write_context)?;
    if fs::read_dir(backup_folder).with_context(write_context)?.next().is_some() {
        bail!("{} is not empty: use a new folder for each backup", backup_folder.display());
    }
    let incomplete = target.incomplete_database();
    let tables = SqliteStore::copy(&database, &incomplete)?;
    let connector_files = copy_versions(&source, &target)?;
    let key = with_key.then(|| copy_key(&source.secret_key(), &target)).transpose()?;
    fs::rename(&incomplete, target.database()).with_context(write_context)?;
    File::open(backup_folder).and_then(|folder| folder.sync_all()).with_context(write_context)?;
    Ok(CopyResult { tables, connector_files, key, replaced_database: None })
}

/// Restores a backup to a data folder. After the next start, the server searches the tracker before
/// it creates a defect that the restored database does not contain. With `replace`, an existing
/// database, and an existing key that is not the key of the backup, are kept under other names.
///
/// # Errors
/// A server runs; `replace` is false, and the folder has a database or another key; the backup is
/// incomplete, unreadable, damaged, newer than this program or sealed with another key; or the disk
/// failed. The existing database and key are not changed until everything is checked and copied.
pub async fn restore(
    data: &Path,
    backup_folder: &Path,
    replace: bool,
) -> anyhow::Result<CopyResult> {
    let (source, target) = (DataFolder::at(backup_folder), DataFolder::at(data));
    if !source.database().exists() {
        bail!(
            "{} is not a complete backup: it has no {}",
            backup_folder.display(),
            source.database().display()
        );
    }
    let _lock = DataLock::acquire(&target, Duration::ZERO).await?;
    let database = target.database();
    if database.exists() && !replace {
        bail!(
            "{} exists: use --replace, which keeps the existing database under another name",
            database.display()
        );
    }
    let (sealer, key) = choose_key(&source, &target, replace)?;
    let copy = target.incomplete_database();
    remove_incomplete(&copy)?;
    let write_context = || format!("cannot write to {}", data.display());
    copy_file(&source.database(), &copy)?;
    let entry = audit_entry("backup.restore");
    let prepared = SqliteStore::prepare_restored(&copy, &database, &sealer, entry);
    let tables = match prepared {
        Ok(tables) => tables,
        Err(error) => {
            remove_incomplete(&copy)?;
            return Err(error.into());
        }
    };
    let connector_files = copy_versions(&source, &target)?;
    let now = SystemClock.now().as_millisecond();
    if let Some(key) = &key {
        let current_key = target.secret_key();
        rename_if_exists(&current_key, &current_key.with_extension(format!("replaced-{now}")))
            .with_context(write_context)?;
        write_private(&current_key, key.as_bytes()).with_context(write_context)?;
    }
    let replaced_database = target.replaced_database(now);
    let had_database =
        rename_if_exists(&database, &replaced_database).with_context(write_context)?;
    for (log, replaced_log) in
        database_logs(&database).into_iter().zip(database_logs(&replaced_database))
    {
        rename_if_exists(&log, &replaced_log).with_context(write_context)?;
    }
    fs::rename(&copy, &database).with_context(write_context)?;
    File::open(data).and_then(|folder| folder.sync_all()).with_context(write_context)?;
    Ok(CopyResult {
        tables,
        connector_files,
        key: key.map(|_| target.secret_key()),
        replaced_database: had_database.then_some(replaced_database),
    })
}

/// Chooses the key of a backup: the key in the environment, else the key in the backup, else the
/// key in the data folder. Also returns the text of the key if it must be written to the data
/// folder.
fn choose_key(
    source: &DataFolder,
    target: &DataFolder,
    replace: bool,
) -> anyhow::Result<(Sealer, Option<Zeroizing<String>>)> {
    let (backup_key, current_key) = (source.secret_key(), target.secret_key());
    if let Some(key) = Secret::from_variable(KEY_VARIABLE)? {
        return Ok((Sealer::from_text(key.reveal(), KEY_VARIABLE)?, None));
    }
    if !backup_key.exists() {
        if !current_key.exists() {
            bail!(
                "the key is neither in the backup nor in {}: restore this file, or set \
                 {KEY_VARIABLE}",
                current_key.display()
            );
        }
        return Ok((Sealer::load_or_create(None, &current_key)?, None));
    }
    let key = read_private(&backup_key)?;
    let sealer = Sealer::from_text(&key, &backup_key.display().to_string())?;
    if !current_key.exists() {
        return Ok((sealer, Some(key)));
    }
    let is_same = read_private(&current_key)?.trim() == key.trim();
    if !is_same && !replace {
        bail!(
            "{} is not the key of the backup: use --replace, which keeps the existing key under \
             another name",
            current_key.display()
        );
    }
    Ok((sealer, (!is_same).then_some(key)))
}

fn copy_key(key: &Path, target: &DataFolder) -> anyhow::Result<PathBuf> {
    if !key.exists() {
        bail!(
            "{} does not exist, because the key comes from {KEY_VARIABLE}: back up that \
             key separately",
            key.display()
        );
    }
    let (text, copy) = (read_private(key)?, target.secret_key());
    write_private(&copy, text.as_bytes())
        .with_context(|| format!("cannot write {}", copy.display()))?;
    Ok(copy)
}

/// Copies the connector files that the target does not have, with their modification times, which
/// show when each version came into use. Returns the number of complete files that the source has.
fn copy_versions(source: &DataFolder, target: &DataFolder) -> anyhow::Result<usize> {
    let mut count = 0;
    for connector in list_paths(&source.versions_folder())? {
        let name = connector.file_name().unwrap_or_default();
        let folder = target.versions_folder().join(name);
        let write_context = || format!("cannot write to {}", folder.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(write_context)?;
        for file in list_paths(&connector)? {
            if file.extension().is_some_and(|extension| extension == INCOMPLETE_EXTENSION) {
                continue;
            }
            let copy = folder.join(file.file_name().unwrap_or_default());
            if !copy.exists() {
                copy_file(&file, &copy)?;
            }
            count += 1;
        }
    }
    Ok(count)
}

fn list_paths(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read_context = || format!("cannot read {}", folder.display());
    match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => {
            let paths = entries.with_context(read_context)?.map(|entry| Ok(entry?.path()));
            paths.collect::<io::Result<_>>().with_context(read_context)
        }
    }
}

/// Copies a file. The copy gets its final name last, so that an interrupted copy does not look
/// complete.
fn copy_file(file: &Path, copy: &Path) -> anyhow::Result<()> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()));
    let (mut source, incomplete) = (opened?, copy.with_extension(INCOMPLETE_EXTENSION));
    remove_incomplete(&incomplete)?;
    write_copy(&mut source, &incomplete)
        .and_then(|()| fs::rename(&incomplete, copy))
        .with_context(|| format!("cannot copy {} to {}", file.display(), copy.display()))
}

/// Copies the content and the modification time of a file, but not its mode: the file of a backup
/// may be read-only.
fn write_copy(source: &mut File, incomplete: &Path) -> io::Result<()> {
    let mut copied = File::options().write(true).create_new(true).mode(0o600).open(incomplete)?;
    io::copy(source, &mut copied)?;
    copied.set_modified(source.metadata()?.modified()?)?;
    copied.sync_all()
}

fn remove_incomplete(copy: &Path) -> anyhow::Result<()> {
    match fs::remove_file(copy) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", copy.display()))
        }
        _ => Ok(()),
    }
}

/// Returns whether the file existed.
fn rename_if_exists(file: &Path, new_name: &Path) -> io::Result<bool> {
    match fs::rename(file, new_name) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::tempdir;

    use super::*;

    fn write_read_only_file(file: &Path, content: &str) {
        fs::write(file, content).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o400)).unwrap();
    }

    #[test]
    fn a_read_only_file_is_copied_despite_an_interrupted_copy() {
        let folder = tempdir().unwrap();
        let (file, copy) = (folder.path().join("saved.wasm"), folder.path().join("copy.wasm"));
        let incomplete = copy.with_extension(INCOMPLETE_EXTENSION);
        write_read_only_file(&file, "complete");
        write_read_only_file(&incomplete, "an interrupted copy");
        copy_file(&file, &copy).unwrap();
        let (saved, copied) = (file.metadata().unwrap(), copy.metadata().unwrap());
        assert_eq!(fs::read(&copy).unwrap(), b"complete");
        assert_eq!(copied.permissions().mode() & 0o777, 0o600);
        assert_eq!(copied.modified().unwrap(), saved.modified().unwrap());
        assert!(!incomplete.exists());
    }

    #[test]
    fn an_error_contains_the_path_of_the_missing_file() {
        let folder = tempdir().unwrap();
        let (file, copy) = (folder.path().join("saved.wasm"), folder.path().join("copy.wasm"));
        let error = copy_file(&file, &copy).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read {}", file.display()));
    }

    #[test]
    fn an_interrupted_copy_of_a_version_is_not_copied() {
        let folder = tempdir().unwrap();
        let source = DataFolder::at(&folder.path().join("source"));
        let target = DataFolder::at(&folder.path().join("target"));
        let connector = source.versions_folder().join("redmine");
        fs::create_dir_all(&connector).unwrap();
        fs::write(connector.join("a.wasm"), "complete").unwrap();
        fs::write(connector.join("b.incomplete"), "comp").unwrap();
        assert_eq!(copy_versions(&source, &target).unwrap(), 1);
        let copies = list_paths(&target.versions_folder().join("redmine")).unwrap();
        assert_eq!(copies, [target.versions_folder().join("redmine/a.wasm")]);
    }
}
