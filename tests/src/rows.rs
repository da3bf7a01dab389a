//! A stopped server's database: what a defect's row said at the instant of death (read from a copy, so
//! that the server's next start finds what it left), and time that passed.

use std::collections::HashMap;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

/// The state of every defect's row, by test execution.
///
/// # Panics
/// When there is no readable database in the data folder.
#[must_use]
pub fn states(data: &Path) -> HashMap<String, String> {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for name in ["jackfield.db", "jackfield.db-wal"] {
        std::fs::copy(data.join(name), copy.path().join(name)).expect("a copy");
    }
    let rows: Vec<(String, String)> = on(&copy.path().join("jackfield.db"), async |database| {
        sqlx::query_as("SELECT test_execution_id, state FROM defects").fetch_all(database).await
    });
    rows.into_iter().collect()
}

/// Makes every count that a stopped server kept so much older, milliseconds.
///
/// # Panics
/// When there is no such database, or it is in use.
pub fn age_counts(data: &Path, by_ms: u64) {
    let by = i64::try_from(by_ms).expect("an age");
    on(&data.join("jackfield.db"), async |database| {
        sqlx::query("UPDATE counts SET counted_at = counted_at - ?")
            .bind(by)
            .execute(database)
            .await
    });
}

fn on<T>(
    file: &Path,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
) -> T {
    let options = SqliteConnectOptions::new().filename(file);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut database = options.connect().await.expect("a database");
        let done = work(&mut database).await.expect("the tables of this version");
        database.close().await.expect("closed");
        done
    })
}
