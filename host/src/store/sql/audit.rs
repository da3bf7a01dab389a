//! Stores the audit log.

use jiff::Timestamp;
use uuid::Uuid;

use super::columns::{parse_stored_enum, time, to_i64};
use super::database::{Database, from_row, params};
use super::unreadable::Unreadable;
use crate::domain::{AuditEntry, AuditId, EventId, OutcomeCode, Role, StringEnum as _};
use crate::store::{AuditFilter, AuditRetention, StoreError};

/// Maximum number of entries that one operation deletes.
const DELETES_MAX: u32 = 1_000;

pub(in crate::store) fn add(db: &dyn Database, entry: AuditEntry) -> Result<(), StoreError> {
    db.change(
        "INSERT INTO audit
             (id, at, account, role, client, via, action, object, outcome, event_id, repeats)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            entry.id.0,
            entry.at.as_millisecond(),
            entry.account.as_deref().unwrap_or_default(),
            entry.role.map(Role::as_str).unwrap_or_default(),
            entry.client.to_string(),
            entry.via.as_str(),
            &entry.action,
            &entry.object,
            entry.outcome.map(OutcomeCode::as_str),
            entry.event.map(|id| id.0),
            to_i64(entry.repeats)
        ],
    )?;
    Ok(())
}

pub(super) fn complete(
    db: &dyn Database,
    id: AuditId,
    object: Option<String>,
    outcome: OutcomeCode,
    event: Option<EventId>,
) -> Result<(), StoreError> {
    db.change(
        "UPDATE audit SET object = COALESCE(?, object), outcome = ?, event_id = ? WHERE id = ?",
        params![object, outcome.as_str(), event.map(|id| id.0), id.0],
    )?;
    Ok(())
}

pub(super) fn count_repeats(
    db: &dyn Database,
    id: AuditId,
    repeats: u64,
) -> Result<(), StoreError> {
    db.change(
        "UPDATE audit SET repeats = repeats + ? WHERE id = ?",
        params![to_i64(repeats), id.0],
    )?;
    Ok(())
}

pub(super) fn list(db: &dyn Database, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
    let rows: Vec<AuditEntryRow> = db.all_rows(
        "SELECT * FROM audit
         WHERE (?1 IS NULL OR at >= ?1) AND (?2 IS NULL OR at < ?2)
           AND (?3 IS NULL OR account = ?3) AND (?4 IS NULL OR object = ?4)
           AND (?5 IS NULL OR action = ?5) AND (?6 IS NULL OR id < ?6)
         ORDER BY id DESC LIMIT ?7",
        params![
            filter.since.map(Timestamp::as_millisecond),
            filter.until.map(Timestamp::as_millisecond),
            filter.account,
            filter.object,
            filter.action,
            filter.before.map(|id| id.0),
            filter.limit
        ],
    )?;
    rows.into_iter().map(AuditEntryRow::into_entry).collect()
}

/// Deletes the oldest entries that are too old or above the maximum number, at most [`DELETES_MAX`]
/// at once. Returns false if there was no such entry.
pub(super) fn delete_some(
    db: &dyn Database,
    retention: AuditRetention,
) -> Result<bool, StoreError> {
    let deleted = db.change(
        "DELETE FROM audit WHERE id IN (
             SELECT id FROM audit
             WHERE at < ?1 OR id <= (SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET ?2)
             ORDER BY id LIMIT ?3)",
        params![retention.since.as_millisecond(), to_i64(retention.entries_max), DELETES_MAX],
    )?;
    Ok(deleted > 0)
}

/// A row of the table `audit`.
struct AuditEntryRow {
    id: Uuid,
    /// When the action was requested, milliseconds since 1970.
    at: i64,
    account: String,
    role: String,
    client: String,
    /// The kind of program that sent the request.
    via: String,
    action: String,
    object: Option<String>,
    outcome: Option<String>,
    event_id: Option<Uuid>,
    /// How many times the same attempt was repeated.
    repeats: u64,
}

from_row!(AuditEntryRow {
    id,
    at,
    account,
    role,
    client,
    via,
    action,
    object,
    outcome,
    event_id,
    repeats
});

impl AuditEntryRow {
    fn into_entry(self) -> Result<AuditEntry, StoreError> {
        let id = self.id;
        self.try_into_entry().map_err(|unreadable| unreadable.in_row("entry of the audit log", id))
    }

    fn try_into_entry(self) -> Result<AuditEntry, Unreadable> {
        Ok(AuditEntry {
            id: AuditId(self.id),
            at: time(self.at)?,
            account: Some(self.account).filter(|name| !name.is_empty()),
            role: Some(self.role)
                .filter(|role| !role.is_empty())
                .map(|role| parse_stored_enum(&role, "its role"))
                .transpose()?,
            client: self.client.parse().map_err(|error| Unreadable::new("its client", error))?,
            via: parse_stored_enum(&self.via, "its program")?,
            action: self.action,
            object: self.object,
            outcome: self
                .outcome
                .map(|code| parse_stored_enum(&code, "its outcome"))
                .transpose()?,
            event: self.event_id.map(EventId),
            repeats: self.repeats,
        })
    }
}
