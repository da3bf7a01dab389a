//! Reads a dead server's database: what a defect's row said at the instant of death. Works on a copy, so
//! that the server's next start finds what it left.

use std::collections::HashMap;
use std::path::Path;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

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
    let options = SqliteConnectOptions::new().filename(copy.path().join("jackfield.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let rows: Vec<(String, String)> = runtime.block_on(async {
        let mut database = options.connect().await.expect("a database");
        sqlx::query_as("SELECT test_execution_id, state FROM defects")
            .fetch_all(&mut database)
            .await
            .expect("the table of defects")
    });
    rows.into_iter().collect()
}
