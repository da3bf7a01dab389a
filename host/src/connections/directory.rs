//! The connections in memory: by token, by id, by name, ready for runs.
//!
//! A snapshot that is replaced as a whole. A secret that cannot be opened is missing in it, and the reason is
//! shown to people.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex as SyncMutex;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::domain::{ConnectionId, ConnectionRecord, ConnectorName};
use crate::egress::ActiveConnection;
use crate::secret::{Sealed, Sealer, Secret, TokenHash};
use crate::store::{StoreError, StoredConnection};

use super::Parts;

/// All connections.
#[derive(Default)]
pub(super) struct Directory {
    snapshot: ArcSwap<Snapshot>,
    /// One load at a time, so that an older reading never replaces a newer one.
    loading: Mutex<()>,
    recorded: SyncMutex<HashMap<ConnectionId, LastAnswers>>,
}

#[derive(Default)]
struct Snapshot {
    entries: BTreeMap<ConnectionId, Arc<Entry>>,
    tokens: HashMap<TokenHash, (ConnectionId, Option<Timestamp>)>,
}

/// One connection.
pub(super) struct Entry {
    /// Ready for runs; the same value as long as the connection is unchanged, so that pooled HTTP
    /// connections and fetched tokens are used again.
    pub(super) active: Arc<ActiveConnection>,
    /// As the store has it.
    record: ConnectionRecord,
    secrets: BTreeMap<String, Sealed>,
    /// Whether a secret is a reference (`file:`, `env:`), which is read again at each load.
    has_references: bool,
    /// Secrets that could not be opened or read, and why.
    pub(super) problems: Vec<String>,
    loaded_at: Timestamp,
}

/// How the last events of a connection ended in this process.
#[derive(Default)]
struct LastAnswers {
    success_at: Option<Timestamp>,
    error: Option<(Timestamp, String)>,
}

impl Directory {
    /// Reads the connections from the store.
    pub(super) async fn load(&self, parts: &Parts) -> Result<(), StoreError> {
        let _load = self.loading.lock().await;
        let stored = parts.store.connections().await?;
        let before = self.snapshot.load_full();
        let mut next = Snapshot::default();
        for stored in stored {
            let id = stored.record.connection.id;
            for token in &stored.tokens {
                next.tokens.insert(token.hash, (id, token.expires_at));
            }
            let now = parts.clock.now();
            let entry = Entry::new(stored, before.entries.get(&id), parts, now);
            next.entries.insert(id, Arc::new(entry));
        }
        self.recorded.lock().retain(|id, _| next.entries.contains_key(id));
        self.snapshot.store(Arc::new(next));
        Ok(())
    }

    /// The connection that a token opens now.
    pub(super) fn by_token(
        &self,
        token: &TokenHash,
        now: Timestamp,
    ) -> Option<Arc<ActiveConnection>> {
        let snapshot = self.snapshot.load();
        let (id, expires_at) = snapshot.tokens.get(token)?;
        if expires_at.is_some_and(|end| end <= now) {
            return None;
        }
        Some(snapshot.entries.get(id)?.active.clone())
    }

    /// One connection.
    pub(super) fn by_id(&self, id: ConnectionId) -> Option<Arc<Entry>> {
        self.snapshot.load().entries.get(&id).cloned()
    }

    /// The versions (SHA-256) that people accepted, by connector.
    pub(super) fn accepted_versions(&self) -> BTreeSet<(ConnectorName, String)> {
        let snapshot = self.snapshot.load();
        let all = snapshot.entries.values().map(|entry| &entry.record.connection);
        all.filter_map(|it| Some((it.connector.clone(), it.accepted_sha256.clone()?))).collect()
    }

    /// All connections, by name.
    pub(super) fn list(&self) -> Vec<ConnectionRecord> {
        let entries: Vec<_> = self.snapshot.load().entries.values().cloned().collect();
        let mut list: Vec<_> = entries.iter().map(|entry| self.record(entry)).collect();
        list.sort_by(|a, b| a.connection.name.cmp(&b.connection.name));
        list
    }

    /// Remembers how an event of a connection ended.
    pub(super) fn record_answer(&self, id: ConnectionId, error: Option<String>, now: Timestamp) {
        let mut recorded = self.recorded.lock();
        let last = recorded.entry(id).or_default();
        match error {
            None => last.success_at = Some(now),
            Some(error) => last.error = Some((now, error)),
        }
    }

    /// The record with the newest success and error, from the store or from this process.
    fn record(&self, entry: &Entry) -> ConnectionRecord {
        let mut record = entry.record.clone();
        let mut errors: Vec<_> = record.last_error.take().into_iter().collect();
        if let Some(last) = self.recorded.lock().get(&record.connection.id) {
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

impl Entry {
    fn new(
        stored: StoredConnection,
        before: Option<&Arc<Self>>,
        parts: &Parts,
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
        let Opened { values, has_references, problems } =
            open(record.connection.id, &secrets, parts);
        let active = match unchanged.filter(|before| before.active.has_secrets(&values)) {
            Some(before) => Arc::clone(&before.active),
            None => Arc::new(ActiveConnection::new(record.connection.clone(), values)),
        };
        Self { active, record, secrets, has_references, problems, loaded_at }
    }
}

/// The secrets of one connection as its runs use them.
#[derive(Default)]
struct Opened {
    values: BTreeMap<String, Secret>,
    has_references: bool,
    problems: Vec<String>,
}

fn open(id: ConnectionId, secrets: &BTreeMap<String, Sealed>, parts: &Parts) -> Opened {
    let Config { secret_file_roots: roots, secret_env_prefixes: prefixes, .. } = &*parts.config;
    let mut opened = Opened::default();
    for (name, sealed) in secrets {
        let place = Sealer::place(&id.to_string(), name);
        let value = parts.sealer.open_sealed(&place, sealed).and_then(|secret| {
            opened.has_references |= secret.is_reference();
            secret.resolve(roots, prefixes)
        });
        match value {
            Ok(value) => {
                opened.values.insert(name.clone(), value);
            }
            Err(why) => opened.problems.push(format!("secret `{name}`: {why}")),
        }
    }
    opened
}
