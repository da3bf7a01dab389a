//! Reads the rows of connectors that several servers share. Stores and reads the reports of the
//! servers about the connectors that they have loaded. These tables exist only in the schema of
//! PostgreSQL.
//!
//! This file never decides which version is in use.

use jiff::Timestamp;
use uuid::Uuid;

use super::columns::{from_json, time, to_json};
use super::database::{Database, from_row, params};
use crate::store::{ServerReport, SharedConnector, SharedVersion, StoreError};

/// Maximum age of a report, milliseconds. Older reports are deleted when a server stores a report.
const REPORT_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// A connector and one of its versions; the columns of the version are NULL if the connector has no
/// version. Times are milliseconds since 1970.
struct ConnectorVersionRow {
    name: String,
    revision: i64,
    removed: bool,
    sha256: Option<String>,
    is_script: Option<bool>,
    bytes: Option<u64>,
    version_revision: Option<i64>,
    at: Option<i64>,
}

from_row!(ConnectorVersionRow {
    name,
    revision,
    removed,
    sha256,
    is_script,
    bytes,
    version_revision,
    at
});

impl ConnectorVersionRow {
    fn version(&self) -> Result<Option<SharedVersion>, StoreError> {
        let Some(sha256) = self.sha256.clone() else { return Ok(None) };
        Ok(Some(SharedVersion {
            sha256,
            is_script: self.is_script.unwrap_or_default(),
            bytes: self.bytes.unwrap_or_default(),
            revision: self.version_revision.unwrap_or_default(),
            at: time(self.at.unwrap_or_default())?,
        }))
    }
}

pub(super) fn list(db: &dyn Database) -> Result<Vec<SharedConnector>, StoreError> {
    let rows: Vec<ConnectorVersionRow> = db.all_rows(
        "SELECT c.name, c.revision, c.removed, v.sha256, v.is_script, v.bytes,
             v.revision AS version_revision, v.at
         FROM connectors c LEFT JOIN connector_versions v ON v.name = c.name
         ORDER BY c.name, v.revision DESC",
        params![],
    )?;
    let mut all: Vec<SharedConnector> = Vec::new();
    for row in rows {
        let version = row.version()?;
        match all.last_mut().filter(|last| last.name == row.name) {
            Some(last) => last.versions.extend(version),
            None => all.push(SharedConnector {
                name: row.name,
                revision: row.revision,
                removed: row.removed,
                versions: version.into_iter().collect(),
            }),
        }
    }
    Ok(all)
}

/// Stores the report of a server, and deletes old reports.
pub(super) fn store_report(db: &dyn Database, loaded: &ServerReport) -> Result<(), StoreError> {
    let (at, connectors) = (loaded.at.as_millisecond(), to_json(&loaded.connectors)?);
    db.change(
        "INSERT INTO loaded_connectors (server, label, at, connectors) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (server) DO UPDATE SET label = ?2, at = ?3, connectors = ?4",
        params![loaded.server, loaded.label, at, connectors],
    )?;
    let outdated = at.saturating_sub(REPORT_MS_MAX);
    db.change("DELETE FROM loaded_connectors WHERE at < ?", params![outdated])?;
    Ok(())
}

pub(super) fn delete_report(db: &dyn Database, server: Uuid) -> Result<(), StoreError> {
    db.change("DELETE FROM loaded_connectors WHERE server = ?", params![server])?;
    Ok(())
}

pub(super) fn list_reports(
    db: &dyn Database,
    since: Timestamp,
) -> Result<Vec<ServerReport>, StoreError> {
    let rows: Vec<(Uuid, String, i64, String)> = db.all_rows(
        "SELECT server, label, at, connectors FROM loaded_connectors WHERE at >= ?
         ORDER BY label, server",
        params![since.as_millisecond()],
    )?;
    let loaded = |(server, label, at, connectors): (Uuid, String, i64, String)| {
        let connectors = from_json(&connectors, "the list of connectors that a server has loaded")?;
        Ok(ServerReport { server, label, at: time(at)?, connectors })
    };
    rows.into_iter().map(loaded).collect()
}
