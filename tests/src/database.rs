//! Reads and changes the database of a stopped or killed server.

use std::collections::HashMap;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

/// The state of each defect's row at the last commit, by test execution id. Reads a copy, so the
/// next start of the server finds the files unchanged.
///
/// # Panics
/// If the data folder has no readable database.
#[must_use]
pub fn defect_states(data: &Path) -> HashMap<String, String> {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for name in ["jackfield.db", "jackfield.db-wal"] {
        std::fs::copy(data.join(name), copy.path().join(name)).expect("the database is copied");
    }
    let rows: Vec<(String, String)> = with_database(copy.path(), async |database| {
        sqlx::query_as("SELECT test_execution_id, state FROM defects").fetch_all(database).await
    });
    rows.into_iter().collect()
}

/// Makes all stored counts of a stopped server older by `by_ms` milliseconds.
///
/// # Panics
/// If the data folder has no such database, or a server uses it.
pub fn age_counts(data: &Path, by_ms: u64) {
    let by = i64::try_from(by_ms).expect("a duration below 300 million years");
    with_database(data, async |database| {
        sqlx::query("UPDATE counts SET counted_at = counted_at - ?")
            .bind(by)
            .execute(database)
            .await
    });
}

/// Runs `work` on the database in the data folder of a stopped server.
///
/// # Panics
/// If there is no database, or `work` fails.
pub fn with_database<T>(
    data: &Path,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
) -> T {
    let options = SqliteConnectOptions::new().filename(data.join("jackfield.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut database = options.connect().await.expect("the database opens");
        let result = work(&mut database).await.expect("the statement succeeds");
        database.close().await.expect("the database closes");
        result
    })
}
