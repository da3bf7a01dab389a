//! The connections in memory, ready for runs. A connection is found by token or by id.
//!
//! Each load replaces the whole snapshot, even a load of one connection. A secret that cannot be
//! used is missing in the snapshot, and the connection shows the reason.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex as SyncMutex;
use tokio::sync::Mutex;

use crate::domain::{
    Clock, Connection, ConnectionId, ConnectionRecord, ConnectorName, Refusal, WEBHOOK_SECRET,
    WEBHOOK_SECRET_PREVIOUS, shown_secret_name,
};
use crate::egress::ActiveConnection;
use crate::secret::{Sealed, Sealer, Secret, TokenHash};
use crate::store::{StoreError, StoredConnection, TokenExpiry};

use super::Dependencies;
use super::validation::resolve_secret;
use super::webhook_auth::webhook_secret_problem;

#[derive(Default)]
pub(super) struct LoadedConnections {
    snapshot: ArcSwap<Snapshot>,
    /// Locked during a load, so that older data never replaces newer data.
    load_lock: Mutex<()>,
    /// How the last events of each connection ended in this process.
    last_answers: SyncMutex<HashMap<ConnectionId, LastAnswers>>,
}

#[derive(Default, Clone)]
struct Snapshot {
    entries: BTreeMap<ConnectionId, Arc<SnapshotEntry>>,
    tokens: HashMap<TokenHash, Token>,
}

#[derive(Clone)]
struct Token {
    connection: ConnectionId,
    /// The expiry as time since boot, so that a step of the wall clock never makes an expired token
    /// valid again. `None`: the token does not expire.
    expires_at: Option<Duration>,
}

pub(super) struct SnapshotEntry {
    /// The connection, ready for runs. While the connection is unchanged and has no problems, a
    /// load reuses this value, so that pooled HTTP connections and fetched tokens are reused.
    pub(super) active: Arc<ActiveConnection>,
    record: ConnectionRecord,
    secrets: BTreeMap<String, Sealed>,
    /// Whether a secret is a reference (`file:`, `env:`). A reference is read again at each load of
    /// the connection.
    has_references: bool,
    /// Descriptions of the secrets that cannot be used, each with its reason.
    pub(super) problems: Vec<String>,
    /// The time of the load that read the connection.
    loaded_at: Timestamp,
}

#[derive(Default)]
struct LastAnswers {
    /// When the last successful event ended.
    success_at: Option<Timestamp>,
    /// When the last failed event ended, and its refusal as a text.
    error: Option<(Timestamp, String)>,
}

impl LoadedConnections {
    /// Reads the connections from the store. Returns the connections that were added, edited or
    /// deleted since the last load.
    pub(super) async fn load(&self, deps: &Dependencies) -> Result<Vec<ConnectionId>, StoreError> {
        let _load = self.load_lock.lock().await;
        let stored = deps.store.connections().await?;
        let before = self.snapshot.load_full();
        let mut next = Snapshot::default();
        for stored in stored {
            next.insert(stored, &before, deps);
        }
        let since_boot = deps.clock.since_boot();
        let expired = next.tokens.extract_if(|_, token| token.has_expired(since_boot));
        let expired: Vec<_> = expired.map(|(hash, _)| hash).collect();
        if !expired.is_empty() {
            // Delete the tokens, so that they stay expired after a restart, even if the clock is
            // set back.
            deps.store.delete_tokens(expired).await?;
        }
        self.last_answers.lock().retain(|id, _| next.entries.contains_key(id));
        let ids: BTreeSet<_> = before.entries.keys().chain(next.entries.keys()).copied().collect();
        let is_changed = |id: &ConnectionId| before.revision(*id) != next.revision(*id);
        let changed = ids.into_iter().filter(is_changed).collect();
        self.snapshot.store(Arc::new(next));
        Ok(changed)
    }

    /// Reads only one connection from the store. Returns whether the connection was added, edited
    /// or deleted since the last load.
    pub(super) async fn load_one(
        &self,
        id: ConnectionId,
        deps: &Dependencies,
    ) -> Result<bool, StoreError> {
        let _load = self.load_lock.lock().await;
        let stored = deps.store.connection(id).await?;
        let before = self.snapshot.load_full();
        let mut next = Snapshot::clone(&before);
        next.entries.remove(&id);
        next.tokens.retain(|_, token| token.connection != id);
        match stored {
            Some(stored) => next.insert(stored, &before, deps),
            None => {
                self.last_answers.lock().remove(&id);
            }
        }
        let is_changed = before.revision(id) != next.revision(id);
        self.snapshot.store(Arc::new(next));
        Ok(is_changed)
    }

    /// Returns the connection of a token, if the token is valid now.
    pub(super) fn by_token(
        &self,
        token: &TokenHash,
        since_boot: Duration,
    ) -> Option<Arc<ActiveConnection>> {
        let snapshot = self.snapshot.load();
        let token = snapshot.tokens.get(token).filter(|token| !token.has_expired(since_boot))?;
        Some(snapshot.entries.get(&token.connection)?.active.clone())
    }

    pub(super) fn by_id(&self, id: ConnectionId) -> Option<Arc<SnapshotEntry>> {
        self.snapshot.load().entries.get(&id).cloned()
    }

    pub(super) fn accepted_versions(&self) -> BTreeSet<(ConnectorName, String)> {
        let snapshot = self.snapshot.load();
        let all = snapshot.entries.values().map(|entry| &entry.record.connection);
        let version = |connection: &Connection| {
            Some((connection.connector.clone(), connection.accepted_sha256.clone()?))
        };
        all.filter_map(version).collect()
    }

    pub(super) fn list(&self) -> Vec<ConnectionRecord> {
        let entries: Vec<_> = self.snapshot.load().entries.values().cloned().collect();
        let mut list: Vec<_> = entries.iter().map(|entry| self.record(entry)).collect();
        list.sort_by(|a, b| a.connection.name.cmp(&b.connection.name));
        list
    }

    pub(super) fn record_answer<T>(
        &self,
        id: ConnectionId,
        answer: &Result<T, Refusal>,
        now: Timestamp,
    ) {
        let error = answer.as_ref().err().map(ToString::to_string);
        let mut last_answers = self.last_answers.lock();
        let last_answer = last_answers.entry(id).or_default();
        match error {
            None => last_answer.success_at = Some(now),
            Some(error) => last_answer.error = Some((now, error)),
        }
    }

    /// Returns the record of a connection with the newest success and error, from the store or from
    /// this process.
    fn record(&self, entry: &SnapshotEntry) -> ConnectionRecord {
        let mut record = entry.record.clone();
        let mut errors: Vec<_> = record.last_error.take().into_iter().collect();
        if let Some(last) = self.last_answers.lock().get(&record.connection.id) {
            record.last_success_at = record.last_success_at.max(last.success_at);
            errors.extend(last.error.clone());
        }
        if !entry.problems.is_empty() {
            errors.push((entry.loaded_at, entry.problems.join("; ")));
        }
        record.last_error = errors.into_iter().max_by_key(|(at, _)| *at);
        record
    }
}

impl Snapshot {
    fn revision(&self, id: ConnectionId) -> Option<u64> {
        self.entries.get(&id).map(|entry| entry.revision())
    }

    /// Adds a connection and its tokens. Reuses the [`ActiveConnection`] of the previous snapshot
    /// if the connection and its secrets have not changed and had no problem. The expiry of a token
    /// never moves to a later time.
    fn insert(&mut self, stored: StoredConnection, before: &Self, deps: &Dependencies) {
        let id = stored.record.connection.id;
        for token in &stored.tokens {
            let before = before.tokens.get(&token.hash).and_then(|token| token.expires_at);
            let expires_at = token.expiry.map(|expiry| {
                let new = expires_at(expiry, &*deps.clock);
                before.map_or(new, |before| before.min(new))
            });
            self.tokens.insert(token.hash, Token { connection: id, expires_at });
        }
        let entry = SnapshotEntry::new(stored, before.entries.get(&id), deps, deps.clock.now());
        self.entries.insert(id, Arc::new(entry));
    }
}

impl Token {
    fn has_expired(&self, since_boot: Duration) -> bool {
        self.expires_at.is_some_and(|end| end <= since_boot)
    }
}

/// Returns the expiry of a token, as time since boot. The expiry is never later than the grace
/// period allows, even if the wall clock is wrong.
fn expires_at(expiry: TokenExpiry, clock: &dyn Clock) -> Duration {
    let remaining = Duration::try_from(expiry.at.duration_since(clock.now())).unwrap_or_default();
    clock.since_boot() + remaining.min(Duration::from_millis(expiry.grace_ms))
}

impl SnapshotEntry {
    pub(super) fn revision(&self) -> u64 {
        self.record.revision
    }

    pub(super) fn index_lag_ms(&self) -> u64 {
        self.record.index_lag_ms
    }

    fn new(
        stored: StoredConnection,
        before: Option<&Arc<Self>>,
        deps: &Dependencies,
        loaded_at: Timestamp,
    ) -> Self {
        let StoredConnection { record, secrets, .. } = stored;
        let unchanged = before.filter(|before| {
            before.problems.is_empty()
                && before.secrets == secrets
                && before.record.connection == record.connection
        });
        if let Some(before) = unchanged.filter(|before| !before.has_references) {
            let active = Arc::clone(&before.active);
            let (has_references, problems) = (false, Vec::new());
            return Self { active, record, secrets, has_references, problems, loaded_at };
        }
        let UnsealedSecrets { values, has_references, mut problems } =
            unseal(&record.connection, &secrets, deps);
        let active = match unchanged.filter(|before| before.active.has_secrets(&values)) {
            Some(before) => Arc::clone(&before.active),
            None => {
                let active = ActiveConnection::new(record.connection.clone(), values);
                for warning in active.warnings() {
                    tracing::warn!(connection = %record.connection.name, "{warning}");
                }
                Arc::new(active)
            }
        };
        problems.extend(active.identity_problem().map(ToString::to_string));
        Self { active, record, secrets, has_references, problems, loaded_at }
    }
}

/// The secrets of one connection, ready for its runs.
#[derive(Default)]
struct UnsealedSecrets {
    values: BTreeMap<String, Secret>,
    /// Whether a secret is a reference (`file:`, `env:`).
    has_references: bool,
    problems: Vec<String>,
}

/// Opens the sealed secrets of a connection. If a secret is a reference, reads the file or variable
/// that the reference names. A secret of webhook senders is left out if it is not valid: a
/// referenced file may be empty, and requests with an empty secret must not be accepted.
fn unseal(
    connection: &Connection,
    secrets: &BTreeMap<String, Sealed>,
    deps: &Dependencies,
) -> UnsealedSecrets {
    let mut unsealed = UnsealedSecrets::default();
    for (name, sealed) in secrets {
        let place = Sealer::place(&connection.id.to_string(), name);
        let value = deps.sealer.open_sealed(&place, sealed).and_then(|secret| {
            unsealed.has_references |= secret.is_reference();
            resolve_secret(name, &secret, &deps.config.current())
        });
        let value =
            value.map_err(|error| error.to_string()).and_then(
                |value| match webhook_secret_problem(connection, name, &value) {
                    Some(why) => Err(why),
                    None => Ok(value),
                },
            );
        match value {
            Ok(value) => {
                unsealed.values.insert(name.clone(), value);
            }
            Err(why) => {
                let name = shown_secret_name(name);
                unsealed.problems.push(format!("secret `{name}`: {why}"));
            }
        }
    }
    // If only the replaced secret of senders can be read, it may be one that has leaked.
    if secrets.contains_key(WEBHOOK_SECRET) && !unsealed.values.contains_key(WEBHOOK_SECRET) {
        unsealed.values.remove(WEBHOOK_SECRET_PREVIOUS);
    }
    unsealed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of the wall clock and the time since boot, both in seconds.
    struct FakeClock(i64, u64);

    impl Clock for FakeClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0).unwrap()
        }

        fn since_boot(&self) -> Duration {
            Duration::from_secs(self.1)
        }
    }

    #[test]
    fn a_token_expires_after_its_grace_period_even_if_the_wall_clock_is_wrong() {
        let expiry = TokenExpiry { at: Timestamp::from_second(1_060).unwrap(), grace_ms: 60_000 };
        for (wall, seconds) in [(1_000, 60), (1_050, 10), (1_060, 0), (9_999, 0), (-500, 60)] {
            let end = expires_at(expiry, &FakeClock(wall, 7));
            assert_eq!(end, Duration::from_secs(7 + seconds), "{wall}");
        }
    }
}
