//! Stores the records of named tokens, with the accounts that sign in with these tokens.
//!
//! This file never gets a token, only its hash.

use std::collections::BTreeSet;

use jiff::Timestamp;
use uuid::Uuid;

use super::columns::{connection_ids_json, from_json, parse_stored_enum, time, time_opt};
use super::database::{Database, from_row, params};
use super::unreadable::Unreadable;
use crate::domain::{Account, AccountToken, ConnectionId, StringEnum as _, TokenId};
use crate::secret::TokenHash;
use crate::store::{ACCOUNT_TOKENS_MAX, StoreError};

pub(super) fn create(
    db: &dyn Database,
    token: AccountToken,
    hash: TokenHash,
) -> Result<(), StoreError> {
    let count: usize = db.required_row("SELECT COUNT(*) FROM account_tokens", params![])?;
    if count >= ACCOUNT_TOKENS_MAX {
        return Err(StoreError::Conflict(format!(
            "there are already {ACCOUNT_TOKENS_MAX} tokens, which is the maximum: revoke one that is \
             not used"
        )));
    }
    db.change(
        "INSERT INTO account_tokens
             (id, name, hash, tail, role, connections, created_at, created_by, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            token.id.0,
            &token.account.name,
            hash.0,
            &token.tail,
            token.account.role.as_str(),
            connection_ids_json(token.account.connections.as_ref())?,
            token.created_at.as_millisecond(),
            &token.created_by,
            token.expires_at.map(Timestamp::as_millisecond)
        ],
    )
    .map(drop)
    .map_err(|failure| match failure.violates_constraint {
        true => StoreError::Conflict(format!(
            "a token named {:?} exists already: choose another name, or revoke it first",
            token.account.name
        )),
        false => failure.into(),
    })
}

pub(super) fn list(db: &dyn Database) -> Result<Vec<AccountToken>, StoreError> {
    let rows: Vec<TokenRow> =
        db.all_rows("SELECT * FROM account_tokens ORDER BY name", params![])?;
    rows.into_iter().map(TokenRow::into_token).collect()
}

pub(super) fn find_by_hash(
    db: &dyn Database,
    hash: TokenHash,
) -> Result<Option<AccountToken>, StoreError> {
    let row: Option<TokenRow> =
        db.first_row("SELECT * FROM account_tokens WHERE hash = ?", params![hash.0])?;
    row.map(TokenRow::into_token).transpose()
}

/// Deletes a token; its sessions are deleted with it.
pub(super) fn delete(db: &dyn Database, id: TokenId) -> Result<(), StoreError> {
    match db.change("DELETE FROM account_tokens WHERE id = ?", params![id.0])? {
        0 => Err(StoreError::NotFound("token")),
        _ => Ok(()),
    }
}

pub(super) fn record_use(db: &dyn Database, id: TokenId, at: Timestamp) -> Result<(), StoreError> {
    let at = at.as_millisecond();
    db.change("UPDATE account_tokens SET last_used_at = ? WHERE id = ?", params![at, id.0])?;
    Ok(())
}

pub(super) fn read_account(
    name: String,
    role: &str,
    connections: Option<&str>,
) -> Result<Account, Unreadable> {
    let ids = connections.map(|text| from_json::<BTreeSet<Uuid>>(text, "its connections"));
    let connections = ids.transpose()?.map(|ids| ids.into_iter().map(ConnectionId).collect());
    Ok(Account { name, role: parse_stored_enum(role, "its role")?, connections })
}

/// A row of the table `account_tokens`. Times are milliseconds since 1970.
struct TokenRow {
    id: Uuid,
    name: String,
    tail: String,
    role: String,
    connections: Option<String>,
    created_at: i64,
    created_by: String,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
}

from_row!(TokenRow {
    id,
    name,
    tail,
    role,
    connections,
    created_at,
    created_by,
    expires_at,
    last_used_at,
});

impl TokenRow {
    fn into_token(self) -> Result<AccountToken, StoreError> {
        let id = self.id;
        self.try_into_token().map_err(|unreadable| unreadable.in_row("token", id))
    }

    fn try_into_token(self) -> Result<AccountToken, Unreadable> {
        Ok(AccountToken {
            id: TokenId(self.id),
            account: read_account(self.name, &self.role, self.connections.as_deref())?,
            tail: self.tail,
            created_at: time(self.created_at)?,
            created_by: self.created_by,
            expires_at: time_opt(self.expires_at)?,
            last_used_at: time_opt(self.last_used_at)?,
        })
    }
}
