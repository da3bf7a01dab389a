//! The rules of shared connectors. They decide which version of a connector is in use, and which
//! versions stay stored.
//!
//! All transactions that store a decision take one lock, so the decisions have an order. The last
//! decision about a connector is valid for all servers, no matter which server made it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::database::{Database, params};
use crate::store::{
    Change, REMOVED_CONNECTORS_MAX, SHARED_BYTES_MAX, SHARED_VERSIONS_MAX, SharedVersion,
    StoreError,
};

/// The minimum age at which a part of an unused file is deleted, milliseconds, measured from when
/// the part was added. A server may still be adding parts of a younger file.
const UNUSED_PART_AGE_MS_MIN: i64 = 60 * 60 * 1_000;

pub(super) fn last_revision(db: &dyn Database) -> Result<i64, StoreError> {
    Ok(db.required_row("SELECT COALESCE(MAX(revision), 0) FROM connectors", params![])?)
}

pub(super) fn stored_bytes(db: &dyn Database, sha256: &str) -> Result<u64, StoreError> {
    let sum = "SELECT COALESCE(SUM(length(content)), 0)::bigint FROM connector_parts
               WHERE sha256 = ?";
    Ok(db.required_row::<i64>(sum, params![sha256])?.unsigned_abs())
}

/// Returns the size of each stored part of a file, by the number of the part.
pub(super) fn stored_parts(
    db: &dyn Database,
    sha256: &str,
) -> Result<BTreeMap<usize, u64>, StoreError> {
    let select =
        "SELECT part::bigint, length(content)::bigint FROM connector_parts WHERE sha256 = ?";
    let parts: Vec<(u64, u64)> = db.all_rows(select, params![sha256])?;
    let number = |(part, bytes): (u64, u64)| Some((usize::try_from(part).ok()?, bytes));
    Ok(parts.into_iter().filter_map(number).collect())
}

/// Returns a part of a file; `None` if there is no such part, or if it is larger than `bytes_max`.
pub(super) fn read_part(
    db: &dyn Database,
    sha256: &str,
    part: usize,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, StoreError> {
    let select = "SELECT content FROM connector_parts
                  WHERE sha256 = ? AND part = ? AND length(content)::bigint <= ?";
    Ok(db.first_row(select, params![sha256, part, bytes_max])?)
}

pub(super) fn add_part(
    db: &dyn Database,
    sha256: &str,
    part: usize,
    content: Vec<u8>,
    now: Timestamp,
) -> Result<(), StoreError> {
    db.change(
        "INSERT INTO connector_parts (sha256, part, added_at, content) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (sha256, part) DO UPDATE SET added_at = ?3, content = ?4",
        params![sha256, part, now.as_millisecond(), content],
    )?;
    Ok(())
}

/// Makes this version the version in use, and deletes the versions above the limits. Returns the
/// number of the decision. If the version is already in use, only returns the number of the earlier
/// decision. Fails if a part of the file is missing.
pub(super) fn set_current_version(
    db: &dyn Database,
    name: &str,
    version: &SharedVersion,
) -> Result<i64, StoreError> {
    let SharedVersion { sha256, is_script, bytes, at, .. } = version;
    if stored_bytes(db, sha256)? != *bytes {
        let why = "a part of the connector's file was not stored; try again";
        return Err(StoreError::Unusable(why.to_owned()));
    }
    let in_use: Option<(i64, String, bool)> = db.first_row(
        "SELECT c.revision, v.sha256, v.is_script
         FROM connectors c JOIN connector_versions v ON v.name = c.name
         WHERE c.name = ? AND NOT c.removed ORDER BY v.revision DESC LIMIT 1",
        params![name],
    )?;
    if let Some((revision, current, of_script)) = in_use
        && (&current, &of_script) == (sha256, is_script)
    {
        return Ok(revision);
    }
    let revision = store_decision(db, name, false)?;
    // The servers order versions by their times. So the time must be later than the time of each
    // stored version of the connector.
    let select = "SELECT COALESCE(MAX(at), 0) FROM connector_versions WHERE name = ?";
    let last_at: i64 = db.required_row(select, params![name])?;
    let at = at.as_millisecond().max(last_at.saturating_add(1));
    db.change(
        "INSERT INTO connector_versions (name, sha256, is_script, bytes, revision, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (name, sha256) DO UPDATE SET is_script = ?3, revision = ?5, at = ?6",
        params![name, sha256, is_script, bytes, revision, at],
    )?;
    delete_surplus(db, version.at)?;
    Ok(revision)
}

/// Returns the number of the decision.
pub(super) fn remove_connector(
    db: &dyn Database,
    name: &str,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let revision = store_decision(db, name, true)?;
    let surplus: Vec<String> = db.all_rows(
        "SELECT name FROM connectors WHERE removed ORDER BY revision DESC OFFSET ?",
        params![REMOVED_CONNECTORS_MAX],
    )?;
    for name in surplus {
        db.change("DELETE FROM connector_versions WHERE name = ?", params![name])?;
        db.change("DELETE FROM connectors WHERE name = ?", params![name])?;
    }
    delete_surplus(db, now)?;
    Ok(revision)
}

/// Returns the number of the decision.
fn store_decision(db: &dyn Database, name: &str, removed: bool) -> Result<i64, StoreError> {
    let revision = last_revision(db)?.saturating_add(1);
    db.change(
        "INSERT INTO connectors (name, revision, removed) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET revision = ?2, removed = ?3",
        params![name, revision, removed],
    )?;
    db.notify(&Change::Connectors)?;
    Ok(revision)
}

/// Deletes the oldest versions above the limits, and old parts of files that neither a version nor
/// a connection uses.
fn delete_surplus(db: &dyn Database, now: Timestamp) -> Result<(), StoreError> {
    let versions: Vec<(String, String, u64, bool)> = db.all_rows(
        "SELECT v.name, v.sha256, v.bytes, c.removed
         FROM connector_versions v JOIN connectors c ON c.name = v.name
         ORDER BY v.revision DESC",
        params![],
    )?;
    for (name, sha256) in select_surplus_versions(versions, SHARED_BYTES_MAX) {
        let delete = "DELETE FROM connector_versions WHERE name = ? AND sha256 = ?";
        db.change(delete, params![name, sha256])?;
    }
    db.change(
        "DELETE FROM connector_parts p WHERE p.added_at < ?
           AND NOT EXISTS (SELECT 1 FROM connector_versions v WHERE v.sha256 = p.sha256)
           AND NOT EXISTS (SELECT 1 FROM connections c WHERE c.accepted_sha256 = p.sha256)",
        params![now.as_millisecond().saturating_sub(UNUSED_PART_AGE_MS_MIN)],
    )?;
    Ok(())
}

/// Selects the versions to delete. `versions` contains the newest version first. Each version has
/// the name of its connector, its SHA-256, its size, and whether its connector was removed. Never
/// selects the newest version of a connector that was not removed.
fn select_surplus_versions(
    versions: Vec<(String, String, u64, bool)>,
    bytes_max: u64,
) -> Vec<(String, String)> {
    let (mut counts, mut bytes) = (BTreeMap::<String, usize>::new(), 0_u64);
    let mut surplus = Vec::new();
    for (name, sha256, size, is_removed) in versions {
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        if *count == 1 && !is_removed {
            continue;
        }
        bytes = bytes.saturating_add(size);
        if *count > SHARED_VERSIONS_MAX || bytes > bytes_max {
            surplus.push((name, sha256));
        }
    }
    surplus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_stays_and_the_oldest_of_the_others_are_deleted() {
        let version =
            |name: &str, number: usize, bytes| (name.to_owned(), number.to_string(), bytes, false);
        let many: Vec<_> = (0..7).map(|number| version("a", number, 1)).collect();
        let deleted: Vec<_> =
            select_surplus_versions(many, 1_000).into_iter().map(|(_, sha256)| sha256).collect();
        assert_eq!(deleted, ["5", "6"]);
        let large =
            vec![version("a", 0, 9), version("b", 1, 9), version("a", 2, 6), version("b", 3, 6)];
        assert_eq!(select_surplus_versions(large, 10), [("b".to_owned(), "3".to_owned())]);
        let removed = |name: &str, bytes| (name.to_owned(), "0".to_owned(), bytes, true);
        let removed = vec![removed("a", 6), version("b", 1, 9), removed("c", 5)];
        assert_eq!(select_surplus_versions(removed, 10), [("c".to_owned(), "0".to_owned())]);
    }
}
