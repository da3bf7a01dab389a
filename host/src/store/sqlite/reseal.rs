//! Seals every secret of a database with another key.
//!
//! One transaction does it, so the file never contains secrets of both keys. The secrets that the
//! old key sealed are overwritten, also in the write-ahead log.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::audit;
use super::file::KEY_CHECK;
use super::statements::Statements as _;
use crate::domain::AuditEntry;
use crate::secret::{Sealed, Sealer, Secret, SecretError};
use crate::store::{DatabaseError, StoreError};

/// Records it in the audit log too. Returns the number of secrets.
pub(super) fn reseal(
    mut connection: Connection,
    old: &Sealer,
    new: &Sealer,
    entry: AuditEntry,
) -> Result<usize, StoreError> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    let transaction = connection.transaction()?;
    let secrets: Vec<(Uuid, String, Vec<u8>)> =
        transaction.all("SELECT connection_id, name, sealed FROM secrets", [])?;
    let count = secrets.len();
    for (connection_id, name, sealed) in secrets {
        let place = Sealer::place(&connection_id.to_string(), &name);
        let opened = old.open_sealed(&place, &Sealed(sealed));
        let sealed = opened.and_then(|secret| new.seal(&place, &secret));
        let sealed = sealed.map_err(|error| not_resealed(&place, error))?;
        transaction.change(
            "UPDATE secrets SET sealed = ? WHERE connection_id = ? AND name = ?",
            params![sealed.0, connection_id, name],
        )?;
    }
    let key_check = new.seal(KEY_CHECK, &Secret::new(KEY_CHECK.to_owned()));
    let key_check = key_check.map_err(|error| not_resealed(KEY_CHECK, error))?;
    let update = "UPDATE meta SET value = ? WHERE name = ?";
    transaction.change(update, params![key_check.0, KEY_CHECK])?;
    audit::add(&transaction, entry)?;
    transaction.commit()?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(count)
}

fn not_resealed(place: &str, error: SecretError) -> StoreError {
    let failure = format!("the secret {place} cannot be sealed with the new key");
    DatabaseError::new(failure, error, Some("nothing was changed")).into()
}
