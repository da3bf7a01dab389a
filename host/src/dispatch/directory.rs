//! The connections as the hot path sees them: by token, by id, by name, ready for runs.
//!
//! A snapshot that is replaced whole. Never serves a secret that it could not open: such a
//! connection stays, with the secret missing and the reason kept for people.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex as SyncMutex};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::connector::Access;
use crate::domain::{Connection, ConnectionId, ConnectorName};
use crate::secret::{Sealed, Sealer, Secret, TokenHash};
use crate::store::{StoreError, StoredConnection};

use super::{Parts, lock};

/// All connections.
#[derive(Default)]
pub(super) struct Directory {
    shown: ArcSwap<Snapshot>,
    /// One load at a time, so that an older reading never replaces a newer one.
    loading: Mutex<()>,
    noted: SyncMutex<HashMap<ConnectionId, Noted>>,
}

#[derive(Default)]
struct Snapshot {
    entries: BTreeMap<ConnectionId, Arc<Entry>>,
    tokens: HashMap<TokenHash, (ConnectionId, Option<Timestamp>)>,
}

/// One connection.
pub(super) struct Entry {
    /// Ready for runs; the same value as long as the connection is unchanged, so that its pooled
    /// connections and fetched tokens live on.
    pub(super) access: Arc<Access>,
    /// As the store shows it.
    connection: Connection,
    secrets: BTreeMap<String, Sealed>,
    /// Whether a secret's value stands elsewhere: it is read again at each load.
    refers: bool,
    /// Secrets that could not be opened or read, and why.
    pub(super) problems: Vec<String>,
    loaded_at: Timestamp,
}

/// How the last events of a connection ended in this process.
#[derive(Default)]
struct Noted {
    success_at: Option<Timestamp>,
    error: Option<(Timestamp, String)>,
}

impl Directory {
    /// Reads the connections anew.
    pub(super) async fn load(&self, parts: &Parts) -> Result<(), StoreError> {
        let _one_at_a_time = self.loading.lock().await;
        let stored = parts.store.connections().await?;
        let before = self.shown.load_full();
        let mut next = Snapshot::default();
        for stored in stored {
            let id = stored.connection.id;
            for token in &stored.tokens {
                next.tokens.insert(token.hash, (id, token.expires_at));
            }
            let now = parts.clock.now();
            let entry = Entry::new(stored, before.entries.get(&id), parts, now);
            next.entries.insert(id, Arc::new(entry));
        }
        lock(&self.noted).retain(|id, _| next.entries.contains_key(id));
        self.shown.store(Arc::new(next));
        Ok(())
    }

    /// The connection that a token opens now.
    pub(super) fn by_token(&self, token: &TokenHash, now: Timestamp) -> Option<Arc<Access>> {
        let shown = self.shown.load();
        let (id, expires_at) = shown.tokens.get(token)?;
        if expires_at.is_some_and(|end| end <= now) {
            return None;
        }
        Some(shown.entries.get(id)?.access.clone())
    }

    /// One connection.
    pub(super) fn by_id(&self, id: ConnectionId) -> Option<Arc<Entry>> {
        self.shown.load().entries.get(&id).cloned()
    }

    /// The versions (SHA-256) that people accepted, of which connector.
    pub(super) fn accepted(&self) -> BTreeSet<(ConnectorName, String)> {
        let shown = self.shown.load();
        let all = shown.entries.values().map(|entry| &entry.connection);
        all.filter_map(|it| Some((it.connector.clone(), it.accepted_sha256.clone()?))).collect()
    }

    /// Whether a run for this access still is a run for the connection as it stands.
    pub(super) fn is_current(&self, access: &Arc<Access>) -> bool {
        self.by_id(access.connection.id).is_some_and(|entry| Arc::ptr_eq(&entry.access, access))
    }

    /// All connections, by name.
    pub(super) fn list(&self) -> Vec<Connection> {
        let entries: Vec<_> = self.shown.load().entries.values().cloned().collect();
        let mut list: Vec<_> = entries.iter().map(|entry| self.show(entry)).collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// Remembers how an event of a connection ended.
    pub(super) fn note(&self, id: ConnectionId, error: Option<String>, now: Timestamp) {
        let mut noted = lock(&self.noted);
        let noted = noted.entry(id).or_default();
        match error {
            None => noted.success_at = Some(now),
            Some(error) => noted.error = Some((now, error)),
        }
    }

    /// As people see it: with the newest success and error, from the store or noted here.
    fn show(&self, entry: &Entry) -> Connection {
        let mut connection = entry.connection.clone();
        let noted = lock(&self.noted);
        let mut errors: Vec<_> = connection.last_error.take().into_iter().collect();
        if let Some(noted) = noted.get(&connection.id) {
            connection.last_success_at = connection.last_success_at.max(noted.success_at);
            errors.extend(noted.error.clone());
        }
        if !entry.problems.is_empty() {
            errors.push((entry.loaded_at, entry.problems.join("; ")));
        }
        connection.last_error = errors.into_iter().max_by_key(|(at, _)| *at);
        connection
    }
}

impl Entry {
    fn new(
        stored: StoredConnection,
        before: Option<&Arc<Self>>,
        parts: &Parts,
        loaded_at: Timestamp,
    ) -> Self {
        let StoredConnection { connection, secrets, .. } = stored;
        let before = before.filter(|before| {
            before.problems.is_empty()
                && before.secrets == secrets
                && same(&before.connection, &connection)
        });
        if let Some(before) = before.filter(|before| !before.refers) {
            let access = before.access.clone();
            let problems = Vec::new();
            return Self { access, connection, secrets, refers: false, problems, loaded_at };
        }
        let Opened { values, refers, problems } = open(connection.id, &secrets, parts);
        let access = match before.filter(|before| before.access.holds(&values)) {
            Some(before) => before.access.clone(),
            None => Arc::new(Access::new(connection.clone(), values)),
        };
        Self { access, connection, secrets, refers, problems, loaded_at }
    }
}

/// The secrets of one connection as its runs use them.
#[derive(Default)]
struct Opened {
    values: BTreeMap<String, Secret>,
    refers: bool,
    problems: Vec<String>,
}

fn open(id: ConnectionId, secrets: &BTreeMap<String, Sealed>, parts: &Parts) -> Opened {
    let Config { secret_file_roots: roots, secret_env_prefixes: prefixes, .. } = &*parts.config;
    let mut opened = Opened::default();
    for (name, sealed) in secrets {
        let place = Sealer::place(&id.to_string(), name);
        let value = parts.sealer.open_sealed(&place, sealed).and_then(|secret| {
            opened.refers |= secret.is_reference();
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

/// Whether two readings differ in nothing that a run sees.
fn same(a: &Connection, b: &Connection) -> bool {
    let seen = |connection: &Connection| Connection {
        last_success_at: None,
        last_error: None,
        token_tail: String::new(),
        ..connection.clone()
    };
    seen(a) == seen(b)
}
