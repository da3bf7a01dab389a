//! Stores the sessions of signed-in browsers.
//!
//! This file never gets a cookie, only its hash.

use jiff::Timestamp;
use uuid::Uuid;

use super::account_tokens::read_account;
use super::columns::{connection_ids_json, time};
use super::database::{Database, from_row, params};
use super::unreadable::Unreadable;
use crate::domain::{Session, StringEnum as _, TokenId};
use crate::secret::TokenHash;
use crate::store::{ACCOUNT_SESSIONS_MAX, SESSIONS_MAX, StoreError};

/// Maximum number of surplus sessions that one statement deletes. There are never so many, but
/// SQLite requires a limit before an offset.
const DELETES_MAX: u32 = 100_000;

/// Adds a session. If its account or all accounts together have too many sessions, deletes the
/// sessions with the earliest expiry.
pub(super) fn create(
    db: &dyn Database,
    session: Session,
    hash: TokenHash,
) -> Result<(), StoreError> {
    db.change(
        "INSERT INTO sessions (hash, token_id, name, role, connections, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            hash.0,
            session.token.map(|id| id.0),
            &session.account.name,
            session.account.role.as_str(),
            connection_ids_json(session.account.connections.as_ref())?,
            session.created_at.as_millisecond(),
            session.expires_at.as_millisecond()
        ],
    )
    .map_err(|failure| match failure.violates_constraint {
        true => StoreError::NotFound("token"),
        false => failure.into(),
    })?;
    db.change(
        "DELETE FROM sessions WHERE hash IN (
             SELECT hash FROM sessions WHERE name = ?1 ORDER BY expires_at DESC LIMIT ?3 OFFSET ?2)",
        params![&session.account.name, ACCOUNT_SESSIONS_MAX, DELETES_MAX],
    )?;
    db.change(
        "DELETE FROM sessions WHERE hash IN (
             SELECT hash FROM sessions ORDER BY expires_at DESC LIMIT ?2 OFFSET ?1)",
        params![SESSIONS_MAX, DELETES_MAX],
    )?;
    Ok(())
}

pub(super) fn find_by_hash(
    db: &dyn Database,
    hash: TokenHash,
) -> Result<Option<Session>, StoreError> {
    let row: Option<SessionRow> =
        db.first_row("SELECT * FROM sessions WHERE hash = ?", params![hash.0])?;
    Ok(row.map(SessionRow::into_session).transpose()?)
}

pub(super) fn delete(db: &dyn Database, hash: TokenHash) -> Result<(), StoreError> {
    db.change("DELETE FROM sessions WHERE hash = ?", params![hash.0])?;
    Ok(())
}

pub(super) fn delete_expired(db: &dyn Database, now: Timestamp) -> Result<(), StoreError> {
    db.change("DELETE FROM sessions WHERE expires_at <= ?", params![now.as_millisecond()])?;
    Ok(())
}

/// A row of the table `sessions`. Times are milliseconds since 1970.
struct SessionRow {
    token_id: Option<Uuid>,
    name: String,
    role: String,
    connections: Option<String>,
    created_at: i64,
    expires_at: i64,
}

from_row!(SessionRow { token_id, name, role, connections, created_at, expires_at });

impl SessionRow {
    fn into_session(self) -> Result<Session, Unreadable> {
        Ok(Session {
            account: read_account(self.name, &self.role, self.connections.as_deref())?,
            token: self.token_id.map(TokenId),
            created_at: time(self.created_at)?,
            expires_at: time(self.expires_at)?,
        })
    }
}
