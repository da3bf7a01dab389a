//! Detects a database that fell behind: each start is counted in the database and in a file of the
//! server. A database with the lower count was restored, or lost commits that it had acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::claims::RESTORED;
use super::columns::time;
use super::database::{Database, params};
use super::meta;
use crate::store::{DatabaseError, StoreError};

const STARTS: &str = "starts";
const RESTORED_AT: &str = "restored-at";

/// The count of starts, in a file of this server.
pub(in crate::store) struct StartCounter {
    path: PathBuf,
}

impl StartCounter {
    pub(in crate::store) fn beside(database: &Path) -> Self {
        Self { path: database.with_extension("starts") }
    }

    /// Returns the count; 0 if the file does not exist yet.
    pub(in crate::store) fn read(&self) -> Result<i64, StoreError> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(self.failed("read", error)),
        }
    }

    /// Replaces the count, durably.
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
        written().map_err(|error| self.failed("written", error))
    }

    fn failed(&self, what: &str, error: std::io::Error) -> StoreError {
        let failure = format!("the file {} cannot be {what}", self.path.display());
        let fix = "check that it belongs to the user that runs Jackfield";
        DatabaseError::new(failure, error, Some(fix)).into()
    }
}

/// Counts a start in the database, and compares its count with that of the file. Returns the new
/// count, and since when the database counts as restored.
pub(super) fn count(
    db: &dyn Database,
    counted: i64,
    now: Timestamp,
) -> Result<(i64, Option<Timestamp>), StoreError> {
    let stored = stored(db)?;
    if counted > stored {
        write(db, RESTORED_AT, now.as_millisecond())?;
        doubt_outdated_rows(db, now)?;
        tracing::warn!(
            "the database has fallen behind: it was restored, or lost what it had stored. Each failed \
             test without a defect is searched for in the tracker before a defect is created"
        );
    }
    let starts = counted.max(stored).saturating_add(1);
    write(db, STARTS, starts)?;
    let restored_at = read(db, RESTORED_AT)?.map(time).transpose()?;
    Ok((starts, restored_at))
}

/// Puts rows in doubt that say that nothing was created: a write may have been sent after they were
/// stored.
fn doubt_outdated_rows(db: &dyn Database, now: Timestamp) -> Result<(), StoreError> {
    db.change(
        "UPDATE defects SET state = 'in-doubt', class = 'open', writes = MAX(writes, 1),
             settled = FALSE, decided = NULL, wait_from = ?1, next_search_at = ?1, reason = ?2
         WHERE state <> 'created' AND state IN ('intent', 'failed') AND NOT released",
        params![now.as_millisecond(), RESTORED],
    )?;
    Ok(())
}

/// The count of starts that a database has.
pub(in crate::store) fn stored(db: &dyn Database) -> Result<i64, StoreError> {
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
