//! Reads connections with their tokens and sealed (encrypted) secrets.
//!
//! Secrets are never opened: sealed bytes and hashes are returned as they were stored.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::columns::{WebhookPathsJson, from_json, parse_stored_enum, time, time_opt};
use super::database::{Database, from_row};
use super::grants_json::GrantsJson;
use super::test_manager_json::TestManagerJson;
use super::unreadable::Unreadable;
use super::values::ToValue as _;
use super::webhook_auth_json::WebhookAuthJson;
use crate::domain::{Connection, ConnectionId, ConnectionRecord, TestManagerSettings, WebhookAuth};
use crate::secret::{Sealed, TokenHash};
use crate::store::{StoreError, StoredConnection, StoredToken, TokenExpiry};

/// The columns of a token: the id of its connection, its hash, its expiry, and its grace period in
/// milliseconds.
type TokenRow = (Uuid, Vec<u8>, Option<i64>, Option<u64>);

/// Returns all connections, sorted by name. If `only` is set, returns only the connection with this
/// id.
pub(super) fn read(
    db: &dyn Database,
    only: Option<ConnectionId>,
) -> Result<Vec<StoredConnection>, StoreError> {
    let mut read = Vec::new();
    // Read in a snapshot, so that a connection and its secrets and tokens are from the same moment.
    db.in_snapshot(&mut |db| {
        read = read_in_snapshot(db, only)?;
        Ok(())
    })?;
    Ok(read)
}

fn read_in_snapshot(
    db: &dyn Database,
    only: Option<ConnectionId>,
) -> Result<Vec<StoredConnection>, StoreError> {
    let (row_condition, part_condition) = match only {
        Some(_) => (" AND id = ?1", " WHERE connection_id = ?1"),
        None => ("", ""),
    };
    let id = only.as_ref().map(|id| [id.0.to_value()]);
    let id = id.as_ref().map_or(&[][..], |id| &id[..]);
    let rows: Vec<ConnectionRow> = db.all_rows(
        &format!("SELECT * FROM connections WHERE NOT deleted{row_condition} ORDER BY name"),
        id,
    )?;
    let mut secrets: HashMap<Uuid, BTreeMap<String, Sealed>> = HashMap::new();
    let sealed: Vec<(Uuid, String, Vec<u8>)> = db.all_rows(
        &format!("SELECT connection_id, name, sealed FROM secrets{part_condition}"),
        id,
    )?;
    for (connection, name, bytes) in sealed {
        secrets.entry(connection).or_default().insert(name, Sealed(bytes));
    }
    let mut tokens: HashMap<Uuid, Vec<StoredToken>> = HashMap::new();
    let select = "SELECT connection_id, hash, expires_at, grace_ms FROM tokens";
    let hashes: Vec<TokenRow> =
        db.all_rows(&format!("{select}{part_condition} ORDER BY rowid"), id)?;
    for (connection, hash, expires_at, grace_ms) in hashes {
        let hash: [u8; 32] = hash.try_into().map_err(|_| {
            Unreadable::new("the hash of a token", "its length is not 32 bytes")
                .in_row("connection", connection)
        })?;
        let hash = TokenHash(hash);
        let grace_ms = grace_ms.unwrap_or_default();
        let expiry = time_opt(expires_at).map_err(|it| it.in_row("connection", connection))?;
        let expiry = expiry.map(|at| TokenExpiry { at, grace_ms });
        let token = StoredToken { hash, expiry };
        tokens.entry(connection).or_default().push(token);
    }
    rows.into_iter()
        .map(|row| {
            let secrets = secrets.remove(&row.id).unwrap_or_default();
            let tokens = tokens.remove(&row.id).unwrap_or_default();
            row.into_stored_connection(secrets, tokens)
        })
        .collect()
}

/// A row of the table `connections`. Times are milliseconds since 1970.
struct ConnectionRow {
    id: Uuid,
    name: String,
    connector: String,
    settings: String,
    grants: String,
    accepted_sha256: Option<String>,
    project: Option<String>,
    allow_private: bool,
    http1_only: bool,
    trace_context: bool,
    index_delay_s: u32,
    index_lag_ms: u64,
    test_manager: Option<String>,
    report: String,
    on_recurrence: String,
    webhook_auth: Option<String>,
    webhook_paths: Option<String>,
    revision: u64,
    paused: bool,
    record_until: Option<i64>,
    token_tail: String,
    created_at: i64,
    last_success_at: Option<i64>,
    last_error_at: Option<i64>,
    last_error: Option<String>,
}

from_row!(ConnectionRow {
    id,
    name,
    connector,
    settings,
    grants,
    accepted_sha256,
    project,
    allow_private,
    http1_only,
    trace_context,
    index_delay_s,
    index_lag_ms,
    test_manager,
    report,
    on_recurrence,
    webhook_auth,
    webhook_paths,
    revision,
    paused,
    record_until,
    token_tail,
    created_at,
    last_success_at,
    last_error_at,
    last_error,
});

impl ConnectionRow {
    fn into_stored_connection(
        self,
        secrets: BTreeMap<String, Sealed>,
        tokens: Vec<StoredToken>,
    ) -> Result<StoredConnection, StoreError> {
        let id = self.id;
        let record = self.try_into_record(&secrets);
        let record = record.map_err(|unreadable| unreadable.in_row("connection", id))?;
        Ok(StoredConnection { record, secrets, tokens })
    }

    fn try_into_record(
        self,
        secrets: &BTreeMap<String, Sealed>,
    ) -> Result<ConnectionRecord, Unreadable> {
        let connector = self.connector.parse();
        let test_manager = self.test_manager.map(|json| {
            let json: TestManagerJson = from_json(&json, "its Test Manager settings")?;
            TestManagerSettings::try_from(json)
        });
        let webhook_auth = self.webhook_auth.map(|json| {
            let json: WebhookAuthJson = from_json(&json, "its webhook authentication")?;
            WebhookAuth::try_from(json)
        });
        let webhook_paths = self.webhook_paths.as_deref();
        let webhook_paths =
            webhook_paths.map(|json| from_json::<WebhookPathsJson>(json, "its webhook paths"));
        let connection = Connection {
            id: ConnectionId(self.id),
            name: self.name,
            connector: connector.map_err(|error| Unreadable::new("its connector", error))?,
            settings: from_json(&self.settings, "its settings")?,
            secrets_set: secrets.keys().cloned().collect(),
            grants: from_json::<GrantsJson>(&self.grants, "its grants")?.try_into()?,
            accepted_sha256: self.accepted_sha256,
            project: self.project,
            allow_private: self.allow_private,
            http1_only: self.http1_only,
            trace_context: self.trace_context,
            index_delay_s: self.index_delay_s,
            test_manager: test_manager.transpose()?,
            report: from_json(&self.report, "its report")?,
            on_recurrence: parse_stored_enum(&self.on_recurrence, "its policy for recurrences")?,
            webhook_auth: webhook_auth.transpose()?.unwrap_or_default(),
            webhook_paths: webhook_paths.transpose()?.unwrap_or_default().into(),
            paused: self.paused,
            recording_until: time_opt(self.record_until)?,
            created_at: time(self.created_at)?,
        };
        Ok(ConnectionRecord {
            revision: self.revision,
            connection,
            token_tail: self.token_tail,
            last_success_at: time_opt(self.last_success_at)?,
            last_error: time_opt(self.last_error_at)?.zip(self.last_error),
            index_lag_ms: self.index_lag_ms,
        })
    }
}
