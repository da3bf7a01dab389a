//! Seals (encrypts) every secret of a database with another key.
//!
//! [`reseal`] is called inside a transaction, so that the database never contains secrets that were
//! sealed with different keys.

use uuid::Uuid;

use super::audit;
use super::database::{Database, params};
use super::meta::KEY_CHECK;
use crate::domain::AuditEntry;
use crate::secret::{Sealed, Sealer, Secret, SecretError};
use crate::store::{DatabaseError, StoreError};

pub(in crate::store) fn reseal(
    db: &dyn Database,
    old: &Sealer,
    new: &Sealer,
    entry: AuditEntry,
) -> Result<usize, StoreError> {
    let secrets: Vec<(Uuid, String, Vec<u8>)> =
        db.all_rows("SELECT connection_id, name, sealed FROM secrets", params![])?;
    let count = secrets.len();
    for (connection_id, name, sealed) in secrets {
        let place = Sealer::place(&connection_id.to_string(), &name);
        let opened = old.open_sealed(&place, &Sealed(sealed));
        let sealed = opened.and_then(|secret| new.seal(&place, &secret));
        let sealed = sealed.map_err(|error| reseal_error(&place, error))?;
        db.change(
            "UPDATE secrets SET sealed = ? WHERE connection_id = ? AND name = ?",
            params![sealed.0, connection_id, name],
        )?;
    }
    let key_check = new.seal(KEY_CHECK, &Secret::new(KEY_CHECK.to_owned()));
    let key_check = key_check.map_err(|error| reseal_error(KEY_CHECK, error))?;
    db.change("UPDATE meta SET value = ? WHERE name = ?", params![key_check.0, KEY_CHECK])?;
    audit::add(db, entry)?;
    Ok(count)
}

fn reseal_error(place: &str, error: SecretError) -> StoreError {
    let failure =
        format!("the secret {place} cannot be sealed with the new key, so nothing was changed");
    DatabaseError::new(failure, error, None).into()
}
