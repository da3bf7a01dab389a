//! Changes connections, their tokens and their sealed (encrypted) secrets.
//!
//! This file never opens a secret and never gets a token; it stores sealed bytes and hashes.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::columns::{WebhookPathsJson, from_json, to_i64, to_json};
use super::counts_leases;
use super::database::{Database, Failure, params};
use super::grants_json::GrantsJson;
use super::test_manager_json::TestManagerJson;
use super::webhook_auth_json::WebhookAuthJson;
use crate::domain::{
    ConnectionId, Grants, Origin, StringEnum as _, TestManagerSettings, WebhookAuth, WebhookPaths,
};
use crate::secret::{Sealed, TokenHash};
use crate::store::{Change, StoreError, StoredConnection, StoredToken, TokenExpiry};

pub(super) fn create(db: &dyn Database, new: StoredConnection) -> Result<(), StoreError> {
    let (record, connection) = (&new.record, &new.record.connection);
    db.change(
        "INSERT INTO connections (id, name, connector, settings, grants, accepted_sha256, project,
             allow_private, http1_only, trace_context, index_delay_s, test_manager, report,
             on_recurrence, webhook_auth, webhook_paths, paused, token_tail, created_at,
             last_success_at, last_error_at, last_error)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            connection.id.0,
            &connection.name,
            connection.connector.as_str(),
            to_json(&connection.settings)?,
            to_json(&GrantsJson::from(&connection.grants))?,
            &connection.accepted_sha256,
            &connection.project,
            connection.allow_private,
            connection.http1_only,
            connection.trace_context,
            connection.index_delay_s,
            test_manager_json(connection.test_manager.as_ref())?,
            to_json(&connection.report)?,
            connection.on_recurrence.as_str(),
            webhook_auth_json(&connection.webhook_auth)?,
            webhook_paths_json(&connection.webhook_paths)?,
            connection.paused,
            &record.token_tail,
            connection.created_at.as_millisecond(),
            record.last_success_at.map(Timestamp::as_millisecond),
            record.last_error.as_ref().map(|(at, _)| at.as_millisecond()),
            record.last_error.as_ref().map(|(_, detail)| detail)
        ],
    )
    .map_err(|error| describe_name_conflict(error, &connection.name))?;
    insert_secrets(db, connection.id, &new.secrets)?;
    for token in &new.tokens {
        insert_token(db, connection.id, token)?;
    }
    notify(db, connection.id)
}

/// Fails if the connection was edited since it was read.
pub(super) fn update(
    db: &dyn Database,
    edited: StoredConnection,
    force: bool,
) -> Result<(), StoreError> {
    let connection = &edited.record.connection;
    let find = "SELECT revision FROM connections WHERE id = ? AND NOT deleted";
    let revision: Option<i64> = db.first_row(find, params![connection.id.0])?;
    let revision = revision.ok_or(StoreError::NotFound("connection"))?;
    if revision.cast_unsigned() != edited.record.revision {
        let why = "another server has just changed the connection; repeat the edit";
        return Err(StoreError::Conflict(why.to_owned()));
    }
    let is_kept = |origin: &Origin| connection.grants.origins.contains(origin);
    if !force && !granted_origins(db, connection.id)?.iter().all(is_kept) {
        refuse_while_unresolved(db, connection.id, "changing its origin")?;
    }
    let settings = to_json(&connection.settings)?;
    // If the connector or the settings change, delete the stored counts: they may be of another
    // tracker.
    db.change(
        "DELETE FROM counts WHERE connection_id = ?1 AND NOT EXISTS (
             SELECT 1 FROM connections WHERE id = ?1 AND connector = ?2 AND settings = ?3)",
        params![connection.id.0, connection.connector.as_str(), &settings],
    )?;
    counts_leases::end_all(db, connection.id)?;
    let updated = db
        .change(
            "UPDATE connections SET name = ?, connector = ?, settings = ?, grants = ?,
             accepted_sha256 = ?, project = ?, allow_private = ?, http1_only = ?,
             trace_context = ?, index_delay_s = ?, test_manager = ?, report = ?, on_recurrence = ?,
             webhook_auth = ?, webhook_paths = ?, paused = ?, revision = revision + 1
         WHERE id = ? AND NOT deleted",
            params![
                &connection.name,
                connection.connector.as_str(),
                &settings,
                to_json(&GrantsJson::from(&connection.grants))?,
                &connection.accepted_sha256,
                &connection.project,
                connection.allow_private,
                connection.http1_only,
                connection.trace_context,
                connection.index_delay_s,
                test_manager_json(connection.test_manager.as_ref())?,
                to_json(&connection.report)?,
                connection.on_recurrence.as_str(),
                webhook_auth_json(&connection.webhook_auth)?,
                webhook_paths_json(&connection.webhook_paths)?,
                connection.paused,
                connection.id.0
            ],
        )
        .map_err(|error| describe_name_conflict(error, &connection.name))?;
    require_existing_connection(updated)?;
    db.change("DELETE FROM secrets WHERE connection_id = ?", params![connection.id.0])?;
    insert_secrets(db, connection.id, &edited.secrets)?;
    notify(db, connection.id)
}

pub(super) fn accept_version(
    db: &dyn Database,
    id: ConnectionId,
    sha256: String,
) -> Result<(), StoreError> {
    let updated = db.change(
        "UPDATE connections SET accepted_sha256 = ? WHERE id = ? AND NOT deleted",
        params![sha256, id.0],
    )?;
    require_existing_connection(updated)?;
    notify(db, id)
}

pub(super) fn record_index_lag(
    db: &dyn Database,
    id: ConnectionId,
    lag_ms: u64,
) -> Result<(), StoreError> {
    let raised = db.change(
        "UPDATE connections SET index_lag_ms = ?1 WHERE id = ?2 AND index_lag_ms < ?1",
        params![to_i64(lag_ms), id.0],
    )?;
    if raised == 0 { Ok(()) } else { notify(db, id) }
}

/// Maximum number of rows that one operation deletes, so that no other write waits for long.
const DELETES_MAX: u32 = 500;

/// Hides a connection and deletes its tokens, secrets and counts. [`delete_some_remaining_rows`]
/// deletes the rest in several transactions.
pub(super) fn delete(db: &dyn Database, id: ConnectionId, force: bool) -> Result<(), StoreError> {
    if !force {
        refuse_while_unresolved(db, id, "deleting it")?;
    }
    let hidden = db.change(
        "UPDATE connections SET deleted = TRUE, name = ?2 WHERE id = ?1 AND NOT deleted",
        params![id.0, format!("deleted {}", id.0.simple())],
    )?;
    require_existing_connection(hidden)?;
    for statement in [
        "DELETE FROM tokens WHERE connection_id = ?",
        "DELETE FROM secrets WHERE connection_id = ?",
        "DELETE FROM counts WHERE connection_id = ?",
        "DELETE FROM counts_leases WHERE connection_id = ?",
        // Creates in progress lose their leases, so they send no further write.
        "UPDATE defects SET fence = fence + 1, lease_until = NULL, next_search_at = NULL
         WHERE state <> 'created' AND state IN ('intent', 'sent', 'in-doubt')
           AND connection_id = ?",
    ] {
        db.change(statement, params![id.0])?;
    }
    notify(db, id)
}

/// Deletes some events or defects of hidden connections, and finally the connections. Returns false
/// if nothing is left.
pub(super) fn delete_some_remaining_rows(db: &dyn Database) -> Result<bool, StoreError> {
    for statement in [
        "DELETE FROM events WHERE id IN (
             SELECT id FROM events
             WHERE connection_id IN (SELECT id FROM connections WHERE deleted) LIMIT ?)",
        "DELETE FROM defects WHERE id IN (
             SELECT id FROM defects
             WHERE connection_id IN (SELECT id FROM connections WHERE deleted) LIMIT ?)",
    ] {
        let deleted = db.change(statement, params![DELETES_MAX])?;
        if deleted > 0 {
            return Ok(true);
        }
    }
    db.change("DELETE FROM connections WHERE deleted", params![])?;
    Ok(false)
}

fn granted_origins(db: &dyn Database, id: ConnectionId) -> Result<Vec<Origin>, StoreError> {
    let grants: Option<String> =
        db.first_row("SELECT grants FROM connections WHERE id = ? AND NOT deleted", params![id.0])?;
    let grants = grants.ok_or(StoreError::NotFound("connection"))?;
    Ok(Grants::try_from(from_json::<GrantsJson>(&grants, "its grants")?)?.origins)
}

/// Refuses a change while creates are running, or in doubt after a write of the class `open` or
/// `acknowledged`: then Jackfield could not find out whether these creates succeeded.
fn refuse_while_unresolved(
    db: &dyn Database,
    id: ConnectionId,
    change: &str,
) -> Result<(), StoreError> {
    let unresolved: i64 = db.required_row(
        "SELECT COUNT(*) FROM defects
         WHERE state <> 'created' AND state IN ('intent', 'sent', 'in-doubt') AND connection_id = ?
           AND (state = 'sent' OR state = 'intent' AND lease_until IS NOT NULL
                OR state = 'in-doubt' AND class IN ('open', 'acknowledged'))",
        params![id.0],
    )?;
    if unresolved == 0 {
        return Ok(());
    }
    Err(StoreError::Conflict(format!(
        "{unresolved} creates of the connection may be running or are in doubt (`jackfield defects \
         list` shows them); resolve them before {change}, or use `--force` (`?force=true`): Jackfield \
         then cannot find out whether they created a defect"
    )))
}

pub(super) fn rotate_token(
    db: &dyn Database,
    id: ConnectionId,
    token: StoredToken,
    tail: String,
    expiry: TokenExpiry,
) -> Result<(), StoreError> {
    let updated = db.change(
        "UPDATE connections SET token_tail = ? WHERE id = ? AND NOT deleted",
        params![tail, id.0],
    )?;
    require_existing_connection(updated)?;
    db.change(
        "DELETE FROM tokens WHERE connection_id = ?1 AND ?2 = 0",
        params![id.0, to_i64(expiry.grace_ms)],
    )?;
    db.change(
        "UPDATE tokens SET expires_at = MIN(COALESCE(expires_at, ?2), ?2),
             grace_ms = MIN(COALESCE(grace_ms, ?3), ?3)
         WHERE connection_id = ?1",
        params![id.0, expiry.at.as_millisecond(), to_i64(expiry.grace_ms)],
    )?;
    insert_token(db, id, &token)?;
    notify(db, id)
}

pub(super) fn delete_tokens(db: &dyn Database, expired: Vec<TokenHash>) -> Result<(), StoreError> {
    for hash in expired {
        db.change("DELETE FROM tokens WHERE hash = ?", params![hash.0.to_vec()])?;
    }
    Ok(())
}

fn test_manager_json(settings: Option<&TestManagerSettings>) -> Result<Option<String>, StoreError> {
    settings.map(|settings| to_json(&TestManagerJson::from(settings))).transpose()
}

fn webhook_auth_json(auth: &WebhookAuth) -> Result<Option<String>, StoreError> {
    let is_set = *auth != WebhookAuth::default();
    is_set.then(|| to_json(&WebhookAuthJson::from(auth))).transpose()
}

fn webhook_paths_json(paths: &WebhookPaths) -> Result<Option<String>, StoreError> {
    let is_set = *paths != WebhookPaths::default();
    is_set.then(|| to_json(&WebhookPathsJson::from(paths.clone()))).transpose()
}

fn insert_token(
    db: &dyn Database,
    id: ConnectionId,
    token: &StoredToken,
) -> Result<(), StoreError> {
    db.change(
        "INSERT INTO tokens (hash, connection_id, expires_at, grace_ms) VALUES (?, ?, ?, ?)",
        params![
            token.hash.0.to_vec(),
            id.0,
            token.expiry.map(|expiry| expiry.at.as_millisecond()),
            token.expiry.map(|expiry| to_i64(expiry.grace_ms))
        ],
    )?;
    Ok(())
}

fn insert_secrets(
    db: &dyn Database,
    id: ConnectionId,
    secrets: &BTreeMap<String, Sealed>,
) -> Result<(), StoreError> {
    for (name, sealed) in secrets {
        db.change(
            "INSERT INTO secrets (connection_id, name, sealed) VALUES (?, ?, ?)",
            params![id.0, name, &sealed.0],
        )?;
    }
    Ok(())
}

pub(super) fn notify(db: &dyn Database, id: ConnectionId) -> Result<(), StoreError> {
    Ok(db.notify(&Change::Connection(id))?)
}

fn require_existing_connection(rows: usize) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::NotFound("connection")) } else { Ok(()) }
}

fn describe_name_conflict(failure: Failure, name: &str) -> StoreError {
    match failure.violates_constraint {
        true => StoreError::Conflict(format!(
            "a connection named `{name}` exists already; choose another name"
        )),
        false => failure.into(),
    }
}
