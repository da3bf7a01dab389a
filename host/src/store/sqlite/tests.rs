//! Tests of the code that only SQLite needs: the file and its migrations.

mod file;
mod migration;

use tempfile::TempDir;

use super::SqliteStore;
use crate::store::sql::SqlStore;
use crate::store::sql::tests::*;
use crate::store::{Store as _, StoreError};

fn database_path(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("jackfield.db")
}

async fn open(folder: &TempDir) -> SqlStore {
    SqliteStore::open(&database_path(folder), &sealer(folder.path())).unwrap()
}
