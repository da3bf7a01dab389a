//! The audit log. [`Audit::begin`] stores an entry before a change, and [`Audit::complete`] adds
//! its outcome. Refused attempts have entries too.
//!
//! If the entry cannot be stored, the caller must not make the change. An entry stays without an
//! outcome if the server ends, or the store fails, during the change.

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

use refusals::RefusalCounts;

/// Maximum number of entries that are kept when old entries are deleted. They need about 200 MiB.
const ENTRIES_MAX: u64 = 1_000_000;

/// Writes and reads the audit log.
pub struct Audit {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    retention: Duration,
    refusals: Mutex<RefusalCounts>,
}

/// A change that is about to be made.
#[derive(Debug)]
pub struct Intent<'a> {
    /// The account that requests the change.
    pub account: &'a Account,
    /// The address of the client.
    pub client: IpAddr,
    /// The kind of program that sent the request.
    pub via: Via,
    /// The name of the change, such as `connection.pause`.
    pub action: String,
    /// The name or id of the changed object, if it is already known.
    pub object: Option<String>,
}

/// How a change ended.
#[derive(Debug)]
pub struct Completion {
    /// The name or id of the changed object, if it was not known before the change.
    pub object: Option<String>,
    /// A code that says whether the change was made and, if not, why.
    pub outcome: OutcomeCode,
    /// The event that the change caused.
    pub event: Option<EventId>,
}

impl Audit {
    /// Uses the audit log in a store. [`Self::prune`] deletes entries that are older than `days`.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>, clock: Arc<dyn Clock>, days: u32) -> Self {
        let retention = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
        Self { store, clock, retention, refusals: Mutex::default() }
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

    /// Adds the outcome to an entry.
    ///
    /// # Errors
    /// The entry stays without an outcome.
    pub async fn complete(&self, id: AuditId, completion: Completion) -> Result<(), StoreError> {
        let Completion { object, outcome, event } = completion;
        self.store.complete_audit(id, object, outcome, event).await
    }

    /// Adds an entry that already has its outcome.
    ///
    /// # Errors
    /// The entry cannot be stored.
    pub async fn record(&self, intent: Intent<'_>, outcome: OutcomeCode) -> Result<(), StoreError> {
        let entry = AuditEntry { outcome: Some(outcome), ..self.entry(intent) };
        self.store.add_audit(entry).await
    }

    /// Records a refused attempt. If the entry cannot be stored, the error is only logged.
    pub async fn record_refusal(&self, refusal: RefusedAttempt) {
        let (id, now) = (AuditId(Uuid::now_v7()), self.clock.now());
        let Some(refusal) = self.refusals.lock().count_attempt(refusal, id, now) else { return };
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
            self.refusals.lock().forget(id);
            tracing::error!(%error, "cannot store a refused attempt in the audit log");
        }
    }

    async fn store_repeats(&self) -> Result<(), StoreError> {
        let mut unstored = UnstoredRepeats {
            refusals: &self.refusals,
            counts: self.refusals.lock().take_unstored(),
        };
        while let Some((id, repeats)) = unstored.counts.pop() {
            // The store adds the repeats even if this future is dropped before it ends.
            let stored = self.store.count_audit_repeats(id, repeats).await;
            if stored.is_err() {
                unstored.counts.push((id, repeats));
            }
            stored?;
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

    /// Deletes entries that are too old, and the oldest entries if there are too many.
    ///
    /// # Errors
    /// The store failed.
    pub async fn prune(&self) -> Result<(), StoreError> {
        self.store_repeats().await?;
        let since = self.clock.now().saturating_sub(self.retention).unwrap_or(Timestamp::MIN);
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

/// Repeats that are not stored yet. Dropping this value gives them back to `refusals`.
struct UnstoredRepeats<'a> {
    refusals: &'a Mutex<RefusalCounts>,
    counts: Vec<(AuditId, u64)>,
}

impl Drop for UnstoredRepeats<'_> {
    fn drop(&mut self) {
        self.refusals.lock().add_unstored(self.counts.drain(..));
    }
}
