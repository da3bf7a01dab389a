//! Seals every secret of a database with another key.
//!
//! One transaction does it, so the file never contains secrets of both keys. The secrets that the
//! old key sealed are overwritten, also in the write-ahead log.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::file::KEY_CHECK;
use crate::secret::{Sealed, Sealer, Secret, SecretError};
use crate::store::{DatabaseError, StoreError};

/// Returns the number of secrets.
pub(super) async fn reseal(
    mut connection: SqliteConnection,
    old: &Sealer,
    new: &Sealer,
) -> Result<usize, StoreError> {
    for pragma in ["PRAGMA synchronous = FULL", "PRAGMA secure_delete = ON"] {
        sqlx::query(pragma).execute(&mut connection).await?;
    }
    let mut transaction = connection.begin().await?;
    let secrets: Vec<(String, String, Vec<u8>)> =
        sqlx::query_as("SELECT connection_id, name, sealed FROM secrets")
            .fetch_all(&mut *transaction)
            .await?;
    for (connection_id, name, sealed) in &secrets {
        let place = Sealer::place(connection_id, name);
        let opened = old.open_sealed(&place, &Sealed(sealed.clone()));
        let sealed = opened.and_then(|secret| new.seal(&place, &secret));
        let sealed = sealed.map_err(|error| not_resealed(&place, error))?;
        sqlx::query("UPDATE secrets SET sealed = ? WHERE connection_id = ? AND name = ?")
            .bind(sealed.0)
            .bind(connection_id)
            .bind(name)
            .execute(&mut *transaction)
            .await?;
    }
    let key_check = new.seal(KEY_CHECK, &Secret::new(KEY_CHECK.to_owned()));
    sqlx::query("UPDATE meta SET value = ? WHERE name = ?")
        .bind(key_check.map_err(|error| not_resealed(KEY_CHECK, error))?.0)
        .bind(KEY_CHECK)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    connection.close().await?;
    Ok(secrets.len())
}

fn not_resealed(place: &str, error: SecretError) -> StoreError {
    let failure = format!("the secret {place} cannot be sealed with the new key");
    DatabaseError::new(failure, error, Some("nothing was changed")).into()
}
