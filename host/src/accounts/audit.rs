//! The audit log: an entry is stored before a change, and completed before its answer. An attempt
//! that was refused is an entry too.
//!
//! So no change is missing in it: if the entry cannot be stored, the change is refused, and if the
//! server ends meanwhile, the entry stays without an outcome.

mod refusals;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::domain::{Account, AuditEntry, AuditId, Clock, EventId, OutcomeCode, Via};
use crate::store::{AuditFilter, AuditRetention, AuditStore, StoreError};

pub use refusals::RefusedAttempt;

use refusals::Recent;

/// Maximum number of entries, about 200 MiB.
const ENTRIES_MAX: u64 = 1_000_000;

/// Writes and reads the audit log.
pub struct Audit {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    kept: Duration,
    /// The attempts that were refused lately.
    recent: Mutex<Recent>,
}

/// A change that is about to be made.
#[derive(Debug)]
pub struct Intent<'a> {
    /// Who asks for it.
    pub account: &'a Account,
    /// The address of their client.
    pub client: IpAddr,
    /// Their program.
    pub via: Via,
    /// What they ask for, such as `connection.pause`.
    pub action: String,
    /// What it concerns, if that is known yet.
    pub object: Option<String>,
}

/// The result of a change.
#[derive(Debug)]
pub struct Done {
    /// What it concerned, if that was not known before.
    pub object: Option<String>,
    /// The outcome.
    pub outcome: OutcomeCode,
    /// The event that it caused.
    pub event: Option<EventId>,
}

impl Audit {
    /// The audit log of a store; entries are kept for `days`.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>, clock: Arc<dyn Clock>, days: u32) -> Self {
        let kept = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
        Self { store, clock, kept, recent: Mutex::default() }
    }

    /// Adds an entry without an outcome.
    ///
    /// # Errors
    /// The entry cannot be stored: do not make the change.
    pub async fn begin(&self, intent: Intent<'_>) -> Result<AuditId, StoreError> {
        let entry = self.entry(intent);
        let id = entry.id;
        self.store.add_audit(entry).await?;
        Ok(id)
    }

    /// Completes an entry.
    ///
    /// # Errors
    /// The entry cannot be changed; it stays without an outcome.
    pub async fn complete(&self, id: AuditId, done: Done) -> Result<(), StoreError> {
        self.store.complete_audit(id, done.object, done.outcome, done.event).await
    }

    /// Adds a complete entry.
    ///
    /// # Errors
    /// The entry cannot be stored.
    pub async fn record(&self, intent: Intent<'_>, outcome: OutcomeCode) -> Result<(), StoreError> {
        let entry = AuditEntry { outcome: Some(outcome), ..self.entry(intent) };
        self.store.add_audit(entry).await
    }

    /// Records an attempt that was refused. If that fails, the log says so.
    pub async fn refused(&self, refusal: RefusedAttempt) {
        let (id, now) = (AuditId(Uuid::now_v7()), self.clock.now());
        let Some(refusal) = self.recent.lock().count(refusal, id, now) else { return };
        let RefusedAttempt { account, client, via, action, object, outcome } = refusal;
        let (account, role) = account.unzip();
        let (outcome, event, repeats) = (Some(outcome), None, 0);
        let entry = AuditEntry {
            id,
            at: now,
            account,
            role,
            client,
            via,
            action,
            object,
            outcome,
            event,
            repeats,
        };
        if let Err(error) = self.store.add_audit(entry).await {
            tracing::error!(%error, "the audit log lacks an attempt that was refused");
        }
    }

    /// Stores how often attempts were repeated.
    async fn store_repeats(&self) -> Result<(), StoreError> {
        let repeated = self.recent.lock().take_unstored();
        for (id, repeats) in repeated {
            self.store.count_audit_repeats(id, repeats).await?;
        }
        Ok(())
    }

    /// Returns the entries that meet the conditions, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        self.store_repeats().await?;
        self.store.audit(filter).await
    }

    /// Deletes entries that are too old, or too many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn prune(&self) -> Result<(), StoreError> {
        self.store_repeats().await?;
        let since = self.clock.now().saturating_sub(self.kept).unwrap_or(Timestamp::MIN);
        self.store.prune_audit(AuditRetention { since, entries_max: ENTRIES_MAX }).await
    }

    fn entry(&self, intent: Intent<'_>) -> AuditEntry {
        let Intent { account, client, via, action, object } = intent;
        AuditEntry {
            id: AuditId(Uuid::now_v7()),
            at: self.clock.now(),
            account: Some(account.name.clone()),
            role: Some(account.role),
            client,
            via,
            action,
            object,
            outcome: None,
            event: None,
            repeats: 0,
        }
    }
}
