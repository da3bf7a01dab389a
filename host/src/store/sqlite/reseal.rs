//! Seals every secret of a database with another key.
//!
//! All in one transaction: at any instant the whole file belongs to one key. What was sealed with the
//! old key is overwritten, also in the log.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::file::KEY_CHECK;
use crate::secret::{Sealed, Sealer, Secret, SecretError};
use crate::store::StoreError;

/// Returns how many secrets there are.
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
        let sealed = sealed.map_err(|error| failed(&place, &error))?;
        sqlx::query("UPDATE secrets SET sealed = ? WHERE connection_id = ? AND name = ?")
            .bind(sealed.0)
            .bind(connection_id)
            .bind(name)
            .execute(&mut *transaction)
            .await?;
    }
    let word = new.seal(KEY_CHECK, &Secret::new(KEY_CHECK.to_owned()));
    sqlx::query("UPDATE meta SET value = ? WHERE name = ?")
        .bind(word.map_err(|error| failed(KEY_CHECK, &error))?.0)
        .bind(KEY_CHECK)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    connection.close().await?;
    Ok(secrets.len())
}

fn failed(place: &str, error: &SecretError) -> StoreError {
    StoreError::Unusable(format!("{place}: {error}; nothing was changed"))
}
