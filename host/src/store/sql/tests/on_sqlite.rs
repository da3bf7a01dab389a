//! Runs tests of the store on SQLite. Each test has its own database file.

#[path = "accounts.rs"]
mod accounts;
#[path = "costs.rs"]
mod costs;
#[path = "decisions.rs"]
mod decisions;
#[path = "doubts.rs"]
mod doubts;
#[path = "follow_ups.rs"]
mod follow_ups;
#[path = "history.rs"]
mod history;
#[path = "model.rs"]
mod model;
#[path = "recovery.rs"]
mod recovery;
#[path = "rules.rs"]
mod rules;
#[path = "writer.rs"]
mod writer;

use tempfile::TempDir;

use super::*;
use crate::store::ConnectionStore as _;
use crate::store::SqliteStore;

/// Only one server uses the file, so created defects are cached in memory.
const CACHES_DEFECTS: bool = true;

async fn open(folder: &TempDir) -> SqlStore {
    let path = folder.path();
    SqliteStore::open(&path.join("jackfield.db"), &sealer(path)).unwrap()
}

async fn store_with_connection(folder: &TempDir) -> (SqlStore, ConnectionId) {
    let store = open(folder).await;
    let new = stored_connection("shop");
    store.create_connection(&new).await.unwrap();
    (store, new.record.connection.id)
}
