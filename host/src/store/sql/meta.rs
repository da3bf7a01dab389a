//! Reads and writes the table `meta`, which contains named values of the whole database.

use super::database::{Database, params};
use crate::store::StoreError;

/// The name of a sealed text. If the server can open it, the server has the right key.
pub(in crate::store) const KEY_CHECK: &str = "key-check";
/// The name of the value that [`check_writable`] changes.
const READY: &str = "ready";

pub(in crate::store) fn read(db: &dyn Database, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(db.first_row("SELECT value FROM meta WHERE name = ?", params![name])?)
}

pub(in crate::store) fn write(
    db: &dyn Database,
    name: &str,
    value: Vec<u8>,
) -> Result<(), StoreError> {
    db.change(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = ?2",
        params![name, value],
    )?;
    Ok(())
}

pub(super) fn check_writable(db: &dyn Database) -> Result<(), StoreError> {
    db.change(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = CASE meta.value WHEN ?2 THEN ?3 ELSE ?2 END",
        params![READY, [0_u8], [1_u8]],
    )?;
    Ok(())
}
