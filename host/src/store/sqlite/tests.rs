//! Tests of the code for SQLite alone: the file and its migrations.

mod file;
mod migration;

use tempfile::TempDir;

use super::SqliteStore;
use crate::store::sql::SqlStore;
use crate::store::sql::tests::*;
use crate::store::{Store as _, StoreError};

fn database(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("jackfield.db")
}

async fn open(folder: &TempDir) -> SqlStore {
    SqliteStore::open(&database(folder), &sealer(folder.path())).unwrap()
}
