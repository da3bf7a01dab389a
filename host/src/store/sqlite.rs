//! The store in one SQLite file. One thread writes, and a few threads read. The rules that all
//! database engines share are in [`sql`](super::sql).

mod backup;
mod connection;
mod errors;
mod file;
mod links;
#[cfg(test)]
mod tests;
mod wal;

use std::path::Path;

use super::changes::Publisher;
use super::sql::SqlStore;
use super::sql::database::Database;
use super::sql::meta;
use super::sql::readers::ReadLink;
use super::sql::reseal;
use super::sql::starts::{self, StartCounter};
use super::transfer::MOVED_TO;
use super::{StoreError, TableRows};
use crate::domain::AuditEntry;
use crate::secret::Sealer;

const READER_THREADS: usize = 4;

/// Opens, copies, reseals and moves the store in one SQLite file.
pub struct SqliteStore;

impl SqliteStore {
    /// Opens the file, or creates it (mode 0600), and brings its schema up to date.
    ///
    /// # Errors
    /// The file cannot be used; the error contains the reason and, if it is known, the next step.
    pub fn open(path: &Path, sealer: &Sealer) -> Result<SqlStore, StoreError> {
        let connection = file::open(path, sealer)?;
        let mut readers: Vec<Box<dyn ReadLink>> = Vec::new();
        for _ in 0..READER_THREADS {
            readers.push(Box::new(links::ReadingLink(file::connect_for_reading(path)?)));
        }
        let writer = links::WritingLink::new(connection, path.to_owned());
        let publisher = Publisher::for_unshared_database();
        SqlStore::start(Box::new(writer), readers, StartCounter::with_file_beside(path), publisher)
    }

    /// Seals every secret of a file with another key, and adds this entry to the audit log. No
    /// server may use the file during the call. Returns the number of secrets. The secrets that the
    /// old key sealed are overwritten in the file, and the write-ahead log is emptied.
    ///
    /// # Errors
    /// As [`Self::open`], or the old key cannot open a secret. In both cases no secret is changed.
    /// It is also an error if the write-ahead log cannot be emptied. All secrets are then already
    /// sealed with the new key.
    pub fn reseal(
        path: &Path,
        old: &Sealer,
        new: &Sealer,
        entry: AuditEntry,
    ) -> Result<usize, StoreError> {
        let mut connection = file::open(path, old)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
        let transaction = connection.transaction()?;
        let count = reseal::reseal(&*transaction, old, new, entry)?;
        transaction.commit()?;
        // The write-ahead log still contains the secrets that the old key sealed.
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let reason = match connection.query_row(checkpoint, [], |row| row.get::<_, bool>(0)) {
            Ok(false) => None,
            Ok(true) => Some("another program reads the database".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = reason {
            return Err(StoreError::Unusable(format!(
                "the secrets are encrypted with the new key now, but their old form is still on the disk \
                 ({reason}): start the server with the new key, and stop it once"
            )));
        }
        connection.close().map_err(|(_, error)| error)?;
        Ok(count)
    }

    /// Calls `copy` with the opened file. No server may use the file during the call. If `copy`
    /// succeeds, marks the file as moved to the database `target_address`. Refuses a file that was
    /// restored or lost changes, until a server has started with it.
    pub(super) fn move_rows<T>(
        path: &Path,
        sealer: &Sealer,
        target_address: &str,
        copy: impl FnOnce(&dyn Database) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = file::open(path, sealer)?;
        if StartCounter::with_file_beside(path).read()? > starts::stored_starts(&connection)? {
            return Err(StoreError::Unusable(
                "the database was restored, or lost changes that it had stored: start the server with it once, \
                 which marks the affected defects, and then move the database"
                    .to_owned(),
            ));
        }
        connection.pragma_update(None, "synchronous", "FULL")?;
        let copied = copy(&connection)?;
        meta::write(&connection, MOVED_TO, target_address.as_bytes().to_owned())?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(copied)
    }

    /// Whether the secrets of a file were sealed with this key. Only opens a text that was sealed
    /// with the same key as the secrets.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn is_sealed_with(path: &Path, sealer: &Sealer) -> Result<bool, StoreError> {
        file::is_sealed_with(path, sealer)
    }

    /// Writes the current content of the file `database` to the new file `copy`. A server may write
    /// to `database` during the copy. Returns the number of rows of each table.
    ///
    /// # Errors
    /// The file cannot be read or was moved into another database, or the copy cannot be written.
    pub fn copy(database: &Path, copy: &Path) -> Result<Vec<TableRows>, StoreError> {
        backup::copy(database, copy)
    }

    /// Prepares a copy that will replace the database at `place`: checks the copy, brings its
    /// schema up to date, and adds this entry to its audit log. Ensures that after the next start,
    /// the server searches the tracker before it creates a defect that the copy does not contain.
    /// Returns the number of rows of each table.
    ///
    /// # Errors
    /// The copy cannot be used: for example, it is damaged, a newer version of Jackfield wrote it,
    /// or its secrets were sealed with another key.
    pub fn prepare_restored(
        copy: &Path,
        place: &Path,
        sealer: &Sealer,
        entry: AuditEntry,
    ) -> Result<Vec<TableRows>, StoreError> {
        backup::prepare(copy, place, sealer, entry)
    }
}
