//! Copies the database of a data folder into PostgreSQL. Never deletes the database in the folder.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use super::keys;
use super::lock::DataLock;
use crate::config::DataFolder;
use crate::store::{PostgresSettings, PostgresStore, TableRows};

/// Copies all rows of the database in a data folder. Then marks this database as moved, so
/// that no server uses it again. Returns the number of rows of each table.
///
/// # Errors
/// A server runs, a key is missing or wrong, the target has rows, or one of the databases failed.
/// After an error, the command can be repeated, and the database in the folder can still be used
/// unless it was already marked.
pub async fn move_to_postgres(data: &Path, to: PostgresSettings) -> anyhow::Result<Vec<TableRows>> {
    let folder = DataFolder::at(data);
    let database = folder.database();
    if !database.exists() {
        bail!("{} does not exist: use the data folder of the server", database.display());
    }
    let _lock = DataLock::acquire(&folder, Duration::ZERO).await?;
    let sealer = keys::open_sealer(&folder).await?;
    Ok(PostgresStore::copy_from_sqlite(database, to, sealer).await?)
}
