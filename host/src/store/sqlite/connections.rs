//! Changes connections, their tokens and their sealed secrets.
//!
//! Never opens a secret and never sees a token: it stores sealed bytes and hashes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::columns::{from_json, to_i64, to_json};
use super::grants_json::GrantsJson;
use crate::domain::{ConnectionId, Grants, Origin};
use crate::secret::{Sealed, TokenHash};
use crate::store::{StoreError, StoredConnection, StoredToken, TokenExpiry};

/// Adds a connection with its secrets and tokens.
pub(super) async fn create(
    db: &mut SqliteConnection,
    new: StoredConnection,
) -> Result<(), StoreError> {
    let (record, connection) = (&new.record, &new.record.connection);
    sqlx::query(
        "INSERT INTO connections (id, name, connector, settings, grants, accepted_sha256, project,
             allow_private, index_delay_s, paused, token_tail, created_at, last_success_at,
             last_error_at, last_error)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(connection.id.to_string())
    .bind(&connection.name)
    .bind(connection.connector.as_str())
    .bind(to_json(&connection.settings)?)
    .bind(to_json(&GrantsJson::from(&connection.grants))?)
    .bind(&connection.accepted_sha256)
    .bind(&connection.project)
    .bind(connection.allow_private)
    .bind(connection.index_delay_s)
    .bind(connection.paused)
    .bind(&record.token_tail)
    .bind(connection.created_at.as_millisecond())
    .bind(record.last_success_at.map(Timestamp::as_millisecond))
    .bind(record.last_error.as_ref().map(|(at, _)| at.as_millisecond()))
    .bind(record.last_error.as_ref().map(|(_, detail)| detail))
    .execute(&mut *db)
    .await
    .map_err(|error| name_taken(error, &connection.name))?;
    insert_secrets(db, connection.id, &new.secrets).await?;
    for token in &new.tokens {
        insert_token(db, connection.id, token).await?;
    }
    Ok(())
}

/// Replaces the columns that people edit, and the secrets.
pub(super) async fn update(
    db: &mut SqliteConnection,
    edited: StoredConnection,
    force: bool,
) -> Result<(), StoreError> {
    let connection = &edited.record.connection;
    let is_kept = |origin: &Origin| connection.grants.origins.contains(origin);
    if !force && !granted_origins(db, connection.id).await?.iter().all(is_kept) {
        refuse_while_unresolved(db, connection.id, "changing its origin").await?;
    }
    let settings = to_json(&connection.settings)?;
    // With other settings, the counts may be those of another tracker.
    sqlx::query(
        "DELETE FROM counts WHERE connection_id = ?1 AND NOT EXISTS (
             SELECT 1 FROM connections WHERE id = ?1 AND connector = ?2 AND settings = ?3)",
    )
    .bind(connection.id.to_string())
    .bind(connection.connector.as_str())
    .bind(&settings)
    .execute(&mut *db)
    .await?;
    let updated = sqlx::query(
        "UPDATE connections SET name = ?, connector = ?, settings = ?, grants = ?,
             accepted_sha256 = ?, project = ?, allow_private = ?, index_delay_s = ?,
             paused = ?
         WHERE id = ? AND deleted = 0",
    )
    .bind(&connection.name)
    .bind(connection.connector.as_str())
    .bind(&settings)
    .bind(to_json(&GrantsJson::from(&connection.grants))?)
    .bind(&connection.accepted_sha256)
    .bind(&connection.project)
    .bind(connection.allow_private)
    .bind(connection.index_delay_s)
    .bind(connection.paused)
    .bind(connection.id.to_string())
    .execute(&mut *db)
    .await
    .map_err(|error| name_taken(error, &connection.name))?;
    require_one(updated.rows_affected())?;
    sqlx::query("DELETE FROM secrets WHERE connection_id = ?")
        .bind(connection.id.to_string())
        .execute(&mut *db)
        .await?;
    insert_secrets(db, connection.id, &edited.secrets).await
}

/// Records the version that serves a connection.
pub(super) async fn accept_version(
    db: &mut SqliteConnection,
    id: ConnectionId,
    sha256: String,
) -> Result<(), StoreError> {
    let updated =
        sqlx::query("UPDATE connections SET accepted_sha256 = ? WHERE id = ? AND deleted = 0")
            .bind(sha256)
            .bind(id.to_string())
            .execute(db)
            .await?;
    require_one(updated.rows_affected())
}

/// Records how late a search was seen to find a new record; the longest is kept.
pub(super) async fn record_index_lag(
    db: &mut SqliteConnection,
    id: ConnectionId,
    lag_ms: u64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE connections SET index_lag_ms = MAX(index_lag_ms, ?) WHERE id = ?")
        .bind(to_i64(lag_ms))
        .bind(id.to_string())
        .execute(db)
        .await?;
    Ok(())
}

/// Rows that one operation deletes, so that no write waits for long.
const DELETES_MAX: u32 = 500;

/// Hides a connection and deletes its tokens, secrets and counts. [`delete_some`] deletes the rest in steps.
pub(super) async fn delete(
    db: &mut SqliteConnection,
    id: ConnectionId,
    force: bool,
) -> Result<(), StoreError> {
    if !force {
        refuse_while_unresolved(db, id, "deleting it").await?;
    }
    let hidden = sqlx::query(
        "UPDATE connections SET deleted = 1, name = 'deleted ' || id WHERE id = ? AND deleted = 0",
    )
    .bind(id.to_string())
    .execute(&mut *db)
    .await?;
    require_one(hidden.rows_affected())?;
    for statement in [
        "DELETE FROM tokens WHERE connection_id = ?",
        "DELETE FROM secrets WHERE connection_id = ?",
        "DELETE FROM counts WHERE connection_id = ?",
        // Runs in progress lose their leases: no further write leaves.
        "UPDATE defects SET fence = fence + 1, lease_until = NULL, next_search_at = NULL
         WHERE state IN ('intent', 'sent', 'in-doubt') AND connection_id = ?",
    ] {
        sqlx::query(statement).bind(id.to_string()).execute(&mut *db).await?;
    }
    Ok(())
}

/// Deletes some events or defects of hidden connections, at last the connections; false: nothing is left.
pub(super) async fn delete_some(db: &mut SqliteConnection) -> Result<bool, StoreError> {
    for statement in [
        "DELETE FROM events WHERE id IN (
             SELECT id FROM events
             WHERE connection_id IN (SELECT id FROM connections WHERE deleted = 1) LIMIT ?)",
        "DELETE FROM defects WHERE id IN (
             SELECT id FROM defects
             WHERE connection_id IN (SELECT id FROM connections WHERE deleted = 1) LIMIT ?)",
    ] {
        let deleted = sqlx::query(statement).bind(DELETES_MAX).execute(&mut *db).await?;
        if deleted.rows_affected() > 0 {
            return Ok(true);
        }
    }
    sqlx::query("DELETE FROM connections WHERE deleted = 1").execute(db).await?;
    Ok(false)
}

async fn granted_origins(
    db: &mut SqliteConnection,
    id: ConnectionId,
) -> Result<Vec<Origin>, StoreError> {
    let grants: Option<String> =
        sqlx::query_scalar("SELECT grants FROM connections WHERE id = ? AND deleted = 0")
            .bind(id.to_string())
            .fetch_optional(db)
            .await?;
    let grants = grants.ok_or(StoreError::NotFound("connection"))?;
    Ok(Grants::try_from(from_json::<GrantsJson>(&grants, "its grants")?)?.origins)
}

/// Refuses a change that would lose creates that run or are in doubt.
async fn refuse_while_unresolved(
    db: &mut SqliteConnection,
    id: ConnectionId,
    change: &str,
) -> Result<(), StoreError> {
    let unresolved: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM defects
         WHERE connection_id = ?
           AND (state = 'sent' OR state = 'intent' AND lease_until IS NOT NULL
                OR state = 'in-doubt' AND class IN ('open', 'acknowledged'))",
    )
    .bind(id.to_string())
    .fetch_one(db)
    .await?;
    if unresolved == 0 {
        return Ok(());
    }
    Err(StoreError::Conflict(format!(
        "{unresolved} of the connection's creates run or are in doubt (`jackfield defects list` \
         shows them); resolve them before {change}, or use `--force` (`?force=true`) and lose \
         track of them"
    )))
}

/// Adds a token. Older tokens expire at the latest as given; without a grace they are deleted.
pub(super) async fn rotate_token(
    db: &mut SqliteConnection,
    id: ConnectionId,
    token: StoredToken,
    tail: String,
    expiry: TokenExpiry,
) -> Result<(), StoreError> {
    let updated = sqlx::query("UPDATE connections SET token_tail = ? WHERE id = ? AND deleted = 0")
        .bind(tail)
        .bind(id.to_string())
        .execute(&mut *db)
        .await?;
    require_one(updated.rows_affected())?;
    sqlx::query("DELETE FROM tokens WHERE connection_id = ?1 AND ?2 = 0")
        .bind(id.to_string())
        .bind(to_i64(expiry.grace_ms))
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "UPDATE tokens SET expires_at = MIN(COALESCE(expires_at, ?2), ?2),
             grace_ms = MIN(COALESCE(grace_ms, ?3), ?3)
         WHERE connection_id = ?1",
    )
    .bind(id.to_string())
    .bind(expiry.at.as_millisecond())
    .bind(to_i64(expiry.grace_ms))
    .execute(&mut *db)
    .await?;
    insert_token(db, id, &token).await
}

/// Deletes tokens.
pub(super) async fn delete_tokens(
    db: &mut SqliteConnection,
    expired: Vec<TokenHash>,
) -> Result<(), StoreError> {
    for hash in expired {
        sqlx::query("DELETE FROM tokens WHERE hash = ?")
            .bind(hash.0.to_vec())
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

async fn insert_token(
    db: &mut SqliteConnection,
    id: ConnectionId,
    token: &StoredToken,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO tokens (hash, connection_id, expires_at, grace_ms) VALUES (?, ?, ?, ?)",
    )
    .bind(token.hash.0.to_vec())
    .bind(id.to_string())
    .bind(token.expiry.map(|expiry| expiry.at.as_millisecond()))
    .bind(token.expiry.map(|expiry| to_i64(expiry.grace_ms)))
    .execute(db)
    .await?;
    Ok(())
}

async fn insert_secrets(
    db: &mut SqliteConnection,
    id: ConnectionId,
    secrets: &BTreeMap<String, Sealed>,
) -> Result<(), StoreError> {
    for (name, sealed) in secrets {
        sqlx::query("INSERT INTO secrets (connection_id, name, sealed) VALUES (?, ?, ?)")
            .bind(id.to_string())
            .bind(name)
            .bind(&sealed.0)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

fn require_one(rows: u64) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::NotFound("connection")) } else { Ok(()) }
}

fn name_taken(error: sqlx::Error, name: &str) -> StoreError {
    match &error {
        sqlx::Error::Database(cause) if cause.is_unique_violation() => StoreError::Conflict(
            format!("a connection named `{name}` exists already; choose another name"),
        ),
        _ => error.into(),
    }
}
