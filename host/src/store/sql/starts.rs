//! Detects a database that fell behind. The starts of all servers are counted in the database. Each
//! server also stores the count in a file of its own. If the count in the database is lower than
//! the count in the file, the database was restored, or lost commits that it had acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::claims::RESTORED_DATABASE_REASON;
use super::columns::time;
use super::database::{Database, params};
use super::meta;
use crate::store::{DatabaseError, StoreError};

/// The name of the value in the table `meta` that contains the number of starts.
const STARTS: &str = "starts";
/// The name of the value in the table `meta` that contains the instant since which the database
/// counts as restored.
const RESTORED_AT: &str = "restored-at";

/// The file of this server that contains a count of starts. The database must have at least this
/// count.
pub(in crate::store) struct StartCounter {
    path: PathBuf,
}

impl StartCounter {
    /// Makes the counter for the file that has the path `database`, but the extension `starts`.
    pub(in crate::store) fn with_file_beside(database: &Path) -> Self {
        Self { path: database.with_extension("starts") }
    }

    /// Returns the count; 0 if the file does not exist yet or does not contain a number.
    pub(in crate::store) fn read(&self) -> Result<i64, StoreError> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(self.file_error("read", error)),
        }
    }

    /// Writes the count durably.
    pub(in crate::store) fn write(&self, starts: i64) -> Result<(), StoreError> {
        let temporary = self.path.with_extension("starts-new");
        let written = || {
            let mut options = OpenOptions::new();
            let options = options.create(true).write(true).truncate(true).mode(0o600);
            let mut file = options.open(&temporary)?;
            file.write_all(format!("{starts}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        written().map_err(|error| self.file_error("written", error))
    }

    fn file_error(&self, what: &str, error: std::io::Error) -> StoreError {
        let failure = format!("the file {} cannot be {what}", self.path.display());
        let fix = "check that it belongs to the user that runs Jackfield";
        DatabaseError::new(failure, error, Some(fix)).into()
    }
}

/// Compares the count in the database with the count in the file, and counts a start. Returns the
/// new count, and the instant since which the database counts as restored; `None` if the database
/// never fell behind.
pub(super) fn count_start(
    db: &dyn Database,
    file_starts: i64,
    now: Timestamp,
) -> Result<(i64, Option<Timestamp>), StoreError> {
    let stored = stored_starts(db)?;
    if file_starts > stored {
        write(db, RESTORED_AT, now.as_millisecond())?;
        put_outdated_rows_in_doubt(db, now)?;
        tracing::warn!(
            "the database has fallen behind: it was restored, or lost changes that it had stored. Before \
             a defect is created, the tracker is searched for it"
        );
    }
    let starts = file_starts.max(stored).saturating_add(1);
    write(db, STARTS, starts)?;
    let restored_at = read(db, RESTORED_AT)?.map(time).transpose()?;
    Ok((starts, restored_at))
}

/// Moves the rows in `intent` and `failed` to `in-doubt`, except released rows, because the
/// database may have lost the record of a write that was sent.
fn put_outdated_rows_in_doubt(db: &dyn Database, now: Timestamp) -> Result<(), StoreError> {
    db.change(
        "UPDATE defects SET state = 'in-doubt', class = 'open', writes = MAX(writes, 1),
             settled = FALSE, decided = NULL, wait_from = ?1, next_search_at = ?1, reason = ?2
         WHERE state <> 'created' AND state IN ('intent', 'failed') AND NOT released",
        params![now.as_millisecond(), RESTORED_DATABASE_REASON],
    )?;
    Ok(())
}

pub(in crate::store) fn stored_starts(db: &dyn Database) -> Result<i64, StoreError> {
    Ok(read(db, STARTS)?.unwrap_or(0))
}

fn read(db: &dyn Database, name: &str) -> Result<Option<i64>, StoreError> {
    let digits = meta::read(db, name)?;
    let digits = digits.map(|digits| String::from_utf8_lossy(&digits).into_owned());
    Ok(digits.map(|digits| digits.parse().unwrap_or_default()))
}

fn write(db: &dyn Database, name: &str, value: i64) -> Result<(), StoreError> {
    meta::write(db, name, value.to_string().into_bytes())
}
