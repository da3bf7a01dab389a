//! Reads and changes the SQLite database of a stopped or killed server.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, Row};
use uuid::Uuid;

/// Returns the state of each defect at the last commit, by the id of its test execution. Reads a
/// copy, so that the server's files do not change.
///
/// # Panics
/// If the write-ahead log does not exist. A stopped server may have deleted it.
#[must_use]
pub fn defect_states(data: &Path) -> HashMap<String, String> {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for name in ["jackfield.db", "jackfield.db-wal"] {
        std::fs::copy(data.join(name), copy.path().join(name)).expect("the database is copied");
    }
    with_database(copy.path(), |database| {
        let mut rows = database.prepare("SELECT test_execution_id, state FROM defects")?;
        let id_and_state =
            |row: &Row<'_>| Ok((Uuid::from_bytes(row.get(0)?).to_string(), row.get(1)?));
        rows.query_map([], id_and_state)?.collect()
    })
}

/// Makes all stored counts of a stopped server `by_ms` milliseconds older.
pub fn age_counts(data: &Path, by_ms: u64) {
    let by = i64::try_from(by_ms).expect("a duration below 300 million years");
    with_database(data, |database| {
        database.execute("UPDATE counts SET counted_at = counted_at - ?", [by])
    });
}

/// Runs `work` on the database in the data folder of a stopped server.
pub fn with_database<T>(data: &Path, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> T {
    let database = Connection::open(data.join("jackfield.db")).expect("the database opens");
    let result = work(&database).expect("the statement succeeds");
    database.close().expect("the database closes");
    result
}
