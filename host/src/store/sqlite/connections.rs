//! Connections, their tokens and their sealed secrets.
//!
//! Never opens a secret and never sees a token: hashes and sealed bytes go in and come out.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use sqlx::FromRow;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::columns::{GrantsJson, from_json, time, time_opt, to_json, uuid, word};
use crate::domain::{Connection, ConnectionId, Grants, Origin};
use crate::secret::{Sealed, TokenHash};
use crate::store::{StoreError, StoredConnection, StoredToken};

/// All of them, by name.
pub(super) async fn all(pool: &SqlitePool) -> Result<Vec<StoredConnection>, StoreError> {
    // One snapshot: a connection is never seen without the secrets it was made with.
    let mut snapshot = pool.begin().await?;
    let rows: Vec<Row> =
        sqlx::query_as("SELECT * FROM connections ORDER BY name").fetch_all(&mut *snapshot).await?;
    let mut secrets: HashMap<String, BTreeMap<String, Sealed>> = HashMap::new();
    let sealed: Vec<(String, String, Vec<u8>)> =
        sqlx::query_as("SELECT connection_id, name, sealed FROM secrets")
            .fetch_all(&mut *snapshot)
            .await?;
    for (connection, name, bytes) in sealed {
        secrets.entry(connection).or_default().insert(name, Sealed(bytes));
    }
    let mut tokens: HashMap<String, Vec<StoredToken>> = HashMap::new();
    let hashes: Vec<(String, Vec<u8>, Option<i64>)> =
        sqlx::query_as("SELECT connection_id, hash, expires_at FROM tokens ORDER BY rowid")
            .fetch_all(&mut *snapshot)
            .await?;
    for (connection, hash, expires_at) in hashes {
        let hash = TokenHash(word(hash.try_into().ok(), "a token's hash")?);
        let token = StoredToken { hash, expires_at: time_opt(expires_at)? };
        tokens.entry(connection).or_default().push(token);
    }
    snapshot.commit().await?;
    rows.into_iter()
        .map(|row| {
            let secrets = secrets.remove(&row.id).unwrap_or_default();
            let tokens = tokens.remove(&row.id).unwrap_or_default();
            row.stored(secrets, tokens)
        })
        .collect()
}

/// Adds one with its secrets and tokens.
pub(super) async fn create(
    db: &mut SqliteConnection,
    new: &StoredConnection,
) -> Result<(), StoreError> {
    let it = &new.connection;
    sqlx::query(
        "INSERT INTO connections (id, name, connector, settings, grants, accepted_sha256, project,
             allow_private, paused, token_tail, created_at, last_success_at, last_error_at,
             last_error)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(it.id.to_string())
    .bind(&it.name)
    .bind(it.connector.as_str())
    .bind(to_json(&it.settings)?)
    .bind(to_json(&GrantsJson::from(&it.grants))?)
    .bind(&it.accepted_sha256)
    .bind(&it.project)
    .bind(it.allow_private)
    .bind(it.paused)
    .bind(&it.token_tail)
    .bind(it.created_at.as_millisecond())
    .bind(it.last_success_at.map(Timestamp::as_millisecond))
    .bind(it.last_error.as_ref().map(|(at, _)| at.as_millisecond()))
    .bind(it.last_error.as_ref().map(|(_, detail)| detail))
    .execute(&mut *db)
    .await
    .map_err(|error| name_taken(error, &it.name))?;
    put_secrets(db, it.id, &new.secrets).await?;
    for token in &new.tokens {
        put_token(db, it.id, token).await?;
    }
    Ok(())
}

/// Replaces what people edit, and the secrets.
pub(super) async fn update(
    db: &mut SqliteConnection,
    edited: &StoredConnection,
    force: bool,
) -> Result<(), StoreError> {
    let it = &edited.connection;
    let kept = |origin: &Origin| it.grants.origins.contains(origin);
    if !force && !origins(db, it.id).await?.iter().all(kept) {
        idle(db, it.id, "settle them before its origin changes, or change it").await?;
    }
    let settings = to_json(&it.settings)?;
    // Counts of other settings are counts of another tracker.
    sqlx::query(
        "DELETE FROM counts WHERE connection_id = ?1 AND NOT EXISTS (
             SELECT 1 FROM connections WHERE id = ?1 AND connector = ?2 AND settings = ?3)",
    )
    .bind(it.id.to_string())
    .bind(it.connector.as_str())
    .bind(&settings)
    .execute(&mut *db)
    .await?;
    let moved = sqlx::query(
        "UPDATE connections SET name = ?, connector = ?, settings = ?, grants = ?,
             accepted_sha256 = ?, project = ?, allow_private = ?, paused = ?
         WHERE id = ?",
    )
    .bind(&it.name)
    .bind(it.connector.as_str())
    .bind(&settings)
    .bind(to_json(&GrantsJson::from(&it.grants))?)
    .bind(&it.accepted_sha256)
    .bind(&it.project)
    .bind(it.allow_private)
    .bind(it.paused)
    .bind(it.id.to_string())
    .execute(&mut *db)
    .await
    .map_err(|error| name_taken(error, &it.name))?;
    exists(moved.rows_affected())?;
    sqlx::query("DELETE FROM secrets WHERE connection_id = ?")
        .bind(it.id.to_string())
        .execute(&mut *db)
        .await?;
    put_secrets(db, it.id, &edited.secrets).await
}

/// Remembers the version that serves it.
pub(super) async fn accept_version(
    db: &mut SqliteConnection,
    id: ConnectionId,
    sha256: &str,
) -> Result<(), StoreError> {
    let moved = sqlx::query("UPDATE connections SET accepted_sha256 = ? WHERE id = ?")
        .bind(sha256)
        .bind(id.to_string())
        .execute(db)
        .await?;
    exists(moved.rows_affected())
}

/// Removes one with all that hangs on it.
pub(super) async fn delete(
    db: &mut SqliteConnection,
    id: ConnectionId,
    force: bool,
) -> Result<(), StoreError> {
    if !force {
        idle(db, id, "settle them before it is deleted, or delete it").await?;
    }
    let gone = sqlx::query("DELETE FROM connections WHERE id = ?")
        .bind(id.to_string())
        .execute(db)
        .await?;
    exists(gone.rows_affected())
}

/// The origins that stand granted.
async fn origins(db: &mut SqliteConnection, id: ConnectionId) -> Result<Vec<Origin>, StoreError> {
    let grants: Option<String> = sqlx::query_scalar("SELECT grants FROM connections WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(db)
        .await?;
    let grants = grants.ok_or(StoreError::NotFound("connection"))?;
    Ok(Grants::try_from(from_json::<GrantsJson>(&grants)?)?.origins)
}

/// Refuses what would lose track of creates that run or are in doubt.
async fn idle(db: &mut SqliteConnection, id: ConnectionId, remedy: &str) -> Result<(), StoreError> {
    let open: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM defects
         WHERE connection_id = ? AND state IN ('intent', 'sent', 'in-doubt')
           AND (state <> 'intent' OR lease_until IS NOT NULL)",
    )
    .bind(id.to_string())
    .fetch_one(db)
    .await?;
    if open == 0 {
        return Ok(());
    }
    Err(StoreError::Conflict(format!(
        "{open} of its creates run or are in doubt (`jackfield defects list` shows them); {remedy} \
         by force (`--force`, `?force=true`) and lose track of them"
    )))
}

/// Adds a token; older ones end at `grace_until` at the latest.
pub(super) async fn rotate_token(
    db: &mut SqliteConnection,
    id: ConnectionId,
    token: &StoredToken,
    tail: &str,
    grace_until: Timestamp,
) -> Result<(), StoreError> {
    let moved = sqlx::query("UPDATE connections SET token_tail = ? WHERE id = ?")
        .bind(tail)
        .bind(id.to_string())
        .execute(&mut *db)
        .await?;
    exists(moved.rows_affected())?;
    sqlx::query(
        "UPDATE tokens SET expires_at = MIN(COALESCE(expires_at, ?2), ?2) WHERE connection_id = ?1",
    )
    .bind(id.to_string())
    .bind(grace_until.as_millisecond())
    .execute(&mut *db)
    .await?;
    put_token(db, id, token).await
}

async fn put_token(
    db: &mut SqliteConnection,
    id: ConnectionId,
    token: &StoredToken,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO tokens (hash, connection_id, expires_at) VALUES (?, ?, ?)")
        .bind(token.hash.0.to_vec())
        .bind(id.to_string())
        .bind(token.expires_at.map(Timestamp::as_millisecond))
        .execute(db)
        .await?;
    Ok(())
}

async fn put_secrets(
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

fn exists(rows: u64) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::NotFound("connection")) } else { Ok(()) }
}

fn name_taken(error: sqlx::Error, name: &str) -> StoreError {
    match &error {
        sqlx::Error::Database(cause) if cause.is_unique_violation() => StoreError::Conflict(
            format!("there is a connection named `{name}` already; choose another name"),
        ),
        _ => error.into(),
    }
}

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    connector: String,
    settings: String,
    grants: String,
    accepted_sha256: Option<String>,
    project: Option<String>,
    allow_private: bool,
    paused: bool,
    token_tail: String,
    created_at: i64,
    last_success_at: Option<i64>,
    last_error_at: Option<i64>,
    last_error: Option<String>,
}

impl Row {
    fn stored(
        self,
        secrets: BTreeMap<String, Sealed>,
        tokens: Vec<StoredToken>,
    ) -> Result<StoredConnection, StoreError> {
        let connection = Connection {
            id: ConnectionId(uuid(&self.id)?),
            name: self.name,
            connector: word(self.connector.parse().ok(), "a connector's name")?,
            settings: from_json(&self.settings)?,
            secrets_set: secrets.keys().cloned().collect(),
            grants: from_json::<GrantsJson>(&self.grants)?.try_into()?,
            accepted_sha256: self.accepted_sha256,
            project: self.project,
            allow_private: self.allow_private,
            paused: self.paused,
            token_tail: self.token_tail,
            created_at: time(self.created_at)?,
            last_success_at: time_opt(self.last_success_at)?,
            last_error: time_opt(self.last_error_at)?.zip(self.last_error),
        };
        Ok(StoredConnection { connection, secrets, tokens })
    }
}
