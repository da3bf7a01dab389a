//! Backs a data folder up while its server runs, and restores a backup while none runs.
//!
//! Puts the key into a backup only if asked to: with both, every secret can be read. Never deletes
//! a database or a key that a restoration replaces.

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

/// The extension of a file that is being copied.
const INCOMPLETE: &str = "incomplete";

/// What was backed up or restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The rows of each table.
    pub tables: Vec<TableRows>,
    /// The files of connectors that served.
    pub versions: usize,
    /// The file of the key; absent if the key is not in the backup.
    pub key: Option<PathBuf>,
    /// The database that was replaced.
    pub replaced: Option<PathBuf>,
}

/// Writes a backup of a data folder to a new folder: the database and the connectors' versions, and
/// the key if `with_key`. A server may run. The database gets its name last, so a folder that has
/// one is complete.
///
/// # Errors
/// The data folder lacks a database, the target is not empty, or the disk failed.
pub fn back_up(data: &Path, to: &Path, with_key: bool) -> anyhow::Result<Copied> {
    let (source, target) = (DataFolder::at(data), DataFolder::at(to));
    let database = source.database();
    if !database.exists() && source.postgres_starts().exists() {
        bail!(
            "the store of {} is in PostgreSQL: back it up with pg_dump, as docs/postgresql.md says",
            data.display()
        );
    }
    if !database.exists() {
        bail!("{} does not exist: give the server's data folder with --data", database.display());
    }
    let new = || format!("cannot write to {}", to.display());
    DirBuilder::new().recursive(true).mode(0o700).create(to).with_context(new)?;
    if fs::read_dir(to).with_context(new)?.next().is_some() {
        bail!("{} is not empty: name a new folder for each backup", to.display());
    }
    let incomplete = target.incomplete_database();
    let tables = SqliteStore::copy(&database, &incomplete)?;
    let versions = copy_versions(&source, &target)?;
    let key = with_key.then(|| copy_key(&source.secret_key(), &target)).transpose()?;
    fs::rename(&incomplete, target.database()).with_context(new)?;
    File::open(to).and_then(|folder| folder.sync_all()).with_context(new)?;
    Ok(Copied { tables, versions, key, replaced: None })
}

/// Puts a backup into a data folder. The next start knows that failed tests may have defects that
/// the database does not know. With `replace`, a database and a key that are there are kept under
/// other names.
///
/// # Errors
/// A server runs, the folder has a database, the backup is incomplete, unreadable, damaged, newer
/// than this program or sealed with another key, or the disk failed. The database and the key stay
/// as they are until everything is checked and copied.
pub async fn restore(data: &Path, from: &Path, replace: bool) -> anyhow::Result<Copied> {
    let (source, target) = (DataFolder::at(from), DataFolder::at(data));
    if !source.database().exists() {
        bail!(
            "{} is not a complete backup: it has no {}",
            from.display(),
            source.database().display()
        );
    }
    let _lock = DataLock::acquire(&target, Duration::ZERO).await?;
    let database = target.database();
    if database.exists() && !replace {
        bail!("{} exists: use --replace, which keeps it under another name", database.display());
    }
    let (sealer, key) = key_of(&source, &target, replace)?;
    let copy = target.incomplete_database();
    remove_incomplete(&copy)?;
    let unwritten = || format!("cannot write to {}", data.display());
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
    let versions = copy_versions(&source, &target)?;
    let now = SystemClock.now().as_millisecond();
    if let Some(key) = &key {
        let own = target.secret_key();
        move_away(&own, &own.with_extension(format!("replaced-{now}"))).with_context(unwritten)?;
        write_private(&own, key.as_bytes()).with_context(unwritten)?;
    }
    let kept = target.replaced_database(now);
    let was_there = move_away(&database, &kept).with_context(unwritten)?;
    for (log, kept) in database_logs(&database).into_iter().zip(database_logs(&kept)) {
        move_away(&log, &kept).with_context(unwritten)?;
    }
    fs::rename(&copy, &database).with_context(unwritten)?;
    File::open(data).and_then(|folder| folder.sync_all()).with_context(unwritten)?;
    Ok(Copied {
        tables,
        versions,
        key: key.map(|_| target.secret_key()),
        replaced: was_there.then_some(kept),
    })
}

/// The key of a backup, and its text if the data folder must get it: the key of the environment,
/// else that of the backup, else that of the data folder.
fn key_of(
    source: &DataFolder,
    target: &DataFolder,
    replace: bool,
) -> anyhow::Result<(Sealer, Option<Zeroizing<String>>)> {
    let (saved, own) = (source.secret_key(), target.secret_key());
    if let Some(key) = Secret::from_variable(KEY_VARIABLE)? {
        return Ok((Sealer::from_text(key.reveal(), KEY_VARIABLE)?, None));
    }
    if !saved.exists() {
        if !own.exists() {
            bail!(
                "neither the backup nor {} has the key: put it there, or set {KEY_VARIABLE}",
                own.display()
            );
        }
        return Ok((Sealer::open(None, &own)?, None));
    }
    let key = read_private(&saved)?;
    let sealer = Sealer::from_text(&key, &saved.display().to_string())?;
    if !own.exists() {
        return Ok((sealer, Some(key)));
    }
    let is_same = read_private(&own)?.trim() == key.trim();
    if !is_same && !replace {
        bail!(
            "{} is not the key of the backup: use --replace, which keeps it under another name",
            own.display()
        );
    }
    Ok((sealer, (!is_same).then_some(key)))
}

fn copy_key(key: &Path, target: &DataFolder) -> anyhow::Result<PathBuf> {
    if !key.exists() {
        bail!("{} does not exist: the key comes from {KEY_VARIABLE}", key.display());
    }
    let (text, copy) = (read_private(key)?, target.secret_key());
    write_private(&copy, text.as_bytes())
        .with_context(|| format!("cannot write {}", copy.display()))?;
    Ok(copy)
}

/// Copies the files of versions that the target does not have, with the times at which they served.
/// Returns how many it has then.
fn copy_versions(source: &DataFolder, target: &DataFolder) -> anyhow::Result<usize> {
    let mut count = 0;
    for connector in entries(&source.versions())? {
        let name = connector.file_name().unwrap_or_default();
        let folder = target.versions().join(name);
        let failed = || format!("cannot write to {}", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(failed)?;
        for file in entries(&connector)? {
            if file.extension().is_some_and(|it| it == INCOMPLETE) {
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

/// The paths in a folder; none if it does not exist.
fn entries(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = || format!("cannot read {}", folder.display());
    match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        found => {
            let paths = found.with_context(failed)?.map(|entry| Ok(entry?.path()));
            paths.collect::<io::Result<_>>().with_context(failed)
        }
    }
}

/// The copy gets its name last, so that an interrupted one does not look complete.
fn copy_file(file: &Path, copy: &Path) -> anyhow::Result<()> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()));
    let (mut source, incomplete) = (opened?, copy.with_extension(INCOMPLETE));
    remove_incomplete(&incomplete)?;
    write_copy(&mut source, &incomplete)
        .and_then(|()| fs::rename(&incomplete, copy))
        .with_context(|| format!("cannot copy {} to {}", file.display(), copy.display()))
}

/// Copies the content and the time of a file, but not its mode: a backup may be read-only.
fn write_copy(source: &mut File, incomplete: &Path) -> io::Result<()> {
    let mut copied = File::options().write(true).create_new(true).mode(0o600).open(incomplete)?;
    io::copy(source, &mut copied)?;
    copied.set_modified(source.metadata()?.modified()?)?;
    copied.sync_all()
}

/// Removes what an interrupted backup or restoration left.
fn remove_incomplete(copy: &Path) -> anyhow::Result<()> {
    match fs::remove_file(copy) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", copy.display()))
        }
        _ => Ok(()),
    }
}

/// Gives a file another name; returns whether there was such a file.
fn move_away(file: &Path, kept: &Path) -> io::Result<bool> {
    match fs::rename(file, kept) {
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

    fn write_read_only(file: &Path, content: &str) {
        fs::write(file, content).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o400)).unwrap();
    }

    #[test]
    fn a_read_only_file_is_copied_even_if_an_interrupted_copy_is_in_the_way() {
        let folder = tempdir().unwrap();
        let (file, copy) = (folder.path().join("saved.wasm"), folder.path().join("copy.wasm"));
        let incomplete = copy.with_extension(INCOMPLETE);
        write_read_only(&file, "complete");
        write_read_only(&incomplete, "an interrupted copy");
        copy_file(&file, &copy).unwrap();
        let (saved, copied) = (file.metadata().unwrap(), copy.metadata().unwrap());
        assert_eq!(fs::read(&copy).unwrap(), b"complete");
        assert_eq!(copied.permissions().mode() & 0o777, 0o600);
        assert_eq!(copied.modified().unwrap(), saved.modified().unwrap());
        assert!(!incomplete.exists());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempdir().unwrap();
        let (file, copy) = (folder.path().join("saved.wasm"), folder.path().join("copy.wasm"));
        let error = copy_file(&file, &copy).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read {}", file.display()));
    }

    #[test]
    fn an_interrupted_copy_is_not_a_version() {
        let folder = tempdir().unwrap();
        let source = DataFolder::at(&folder.path().join("source"));
        let target = DataFolder::at(&folder.path().join("target"));
        let connector = source.versions().join("redmine");
        fs::create_dir_all(&connector).unwrap();
        fs::write(connector.join("a.wasm"), "complete").unwrap();
        fs::write(connector.join("b.incomplete"), "comp").unwrap();
        assert_eq!(copy_versions(&source, &target).unwrap(), 1);
        let copies = entries(&target.versions().join("redmine")).unwrap();
        assert_eq!(copies, [target.versions().join("redmine/a.wasm")]);
    }
}
