//! Tests of the store's rules. Most of the tests run on both database engines. Each test uses its
//! own file or schema, and passes all times as arguments.

mod on_postgres;
mod on_sqlite;

use std::path::Path;

use jiff::Timestamp;
use uuid::Uuid;

use super::SqlStore;
use super::database::{Database, params};
use crate::domain::{
    AuditEntry, AuditId, Claimed, Connection, ConnectionId, ConnectionRecord, ConnectionSnapshot,
    Defect, Doubt, EventId, FailedTest, Grants, Lease, NotCreated, Origin, Refusal, Role, RowEnd,
    SecretGrant, SecretPlace, SentWrites, Via, WriteClass,
};
use crate::secret::{Sealed, Sealer, TokenHash};
use crate::store::DefectStore as _;
use crate::store::{
    Claim, DueLimits, JournaledWrite, Store as _, StoreError, StoredConnection, StoredToken,
};

/// The maximum duration of a run in the tests, milliseconds.
pub(in crate::store) const RUN_MS: u64 = 120_000;
/// The duration of a lease in the tests, milliseconds.
pub(in crate::store) const LEASE_MS: i64 = 30_000;
/// Limits that no test reaches.
pub(in crate::store) const DUE_LIMITS: DueLimits = DueLimits { total: 9, per_connection: 9 };

/// Returns the instant `ms` milliseconds after the first instant of the tests.
pub(in crate::store) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
}

pub(in crate::store) fn event() -> EventId {
    EventId(Uuid::from_u128(0xe))
}

pub(in crate::store) fn sealer(folder: &Path) -> Sealer {
    Sealer::load_or_create(None, &folder.join("key")).unwrap()
}

pub(in crate::store) async fn number(store: &SqlStore, sql: &'static str) -> i64 {
    store.readers.run(move |db| Ok(db.required_row(sql, params![])?)).await.unwrap()
}

/// Returns a new connection with this name, one secret and one token.
pub(in crate::store) fn stored_connection(name: &str) -> StoredConnection {
    let origin: Origin = "https://tracker.example".parse().unwrap();
    let place = SecretPlace::Header { name: "x-key".to_owned(), prefix: String::new() };
    let grants = Grants {
        origins: vec![origin.clone()],
        fixed_origins: Vec::new(),
        secrets: [("api-key".to_owned(), SecretGrant { origin, place })].into(),
        may_read_test_data: true,
    };
    let id = ConnectionId(Uuid::new_v4());
    let connection = Connection {
        settings: [("project".to_owned(), "shop".into())].into_iter().collect(),
        secrets_set: vec!["api-key".to_owned()],
        grants,
        accepted_sha256: Some("00".to_owned()),
        ..Connection::new(id, name.to_owned(), "redmine".parse().unwrap(), at(0))
    };
    let record = ConnectionRecord {
        revision: 1,
        connection,
        token_tail: "abcd".to_owned(),
        last_success_at: None,
        last_error: None,
        index_lag_ms: 0,
    };
    let hash = TokenHash(Uuid::new_v4().as_bytes().repeat(2).try_into().unwrap());
    StoredConnection {
        record,
        secrets: [("api-key".to_owned(), Sealed(vec![1, 2, 3]))].into(),
        tokens: vec![StoredToken { hash, expiry: None }],
    }
}

/// Returns the failed test of test execution `number`. All failed tests have the same test case.
pub(in crate::store) fn failed_test(number: u128) -> FailedTest {
    FailedTest::new(Uuid::from_u128(number), Uuid::from_u128(2), None, None)
}

/// Claims a failed test that cannot be a recurrence.
pub(in crate::store) async fn try_claim(
    store: &SqlStore,
    connection: ConnectionId,
    test: &FailedTest,
    now: Timestamp,
) -> Result<Claimed, StoreError> {
    let lease_until = now + jiff::SignedDuration::from_millis(LEASE_MS);
    let claim = Claim {
        connection,
        test: test.clone(),
        event: event(),
        now,
        lease_until,
        run_ms: RUN_MS,
        awaited_fence: None,
        rows_in_work_if_recurrence: None,
    };
    store.claim(claim).await
}

/// Claims failed test number 1 at the instant `ms`.
pub(in crate::store) async fn claim(
    store: &SqlStore,
    connection: ConnectionId,
    ms: i64,
) -> Claimed {
    try_claim(store, connection, &failed_test(1), at(ms)).await.unwrap()
}

pub(in crate::store) fn lease(claimed: &Claimed) -> Lease {
    match claimed {
        Claimed::Create { lease, .. } => lease.clone(),
        Claimed::Search(doubtful) => doubtful.lease.clone(),
        other => panic!("no lease: {other:?}"),
    }
}

pub(in crate::store) fn doubt(claimed: &Claimed) -> Doubt {
    match claimed {
        Claimed::Search(doubtful) => doubtful.doubt.clone(),
        other => panic!("the claim requires no search: {other:?}"),
    }
}

/// Returns a write that contains the marker. It renews the lease at `now`, for [`LEASE_MS`].
pub(in crate::store) fn write(now: Timestamp) -> JournaledWrite {
    let snapshot = ConnectionSnapshot {
        settings: "{}".to_owned(),
        origins: vec!["https://tracker.example".parse().unwrap()],
        connector_sha256: "00".to_owned(),
    };
    let lease_until = now + jiff::SignedDuration::from_millis(LEASE_MS);
    JournaledWrite { has_marker: true, snapshot, lease_until }
}

/// Marks at the instant `ms` that a write is about to be sent.
pub(in crate::store) async fn mark(
    store: &SqlStore,
    lease: &Lease,
    ms: i64,
) -> Result<(), StoreError> {
    store.mark_sending(lease, write(at(ms)), at(ms)).await
}

/// Claims failed test number 1. Its run sends a write of this class and returns no defect.
pub(in crate::store) async fn fail_after_write(
    store: &SqlStore,
    connection: ConnectionId,
    class: WriteClass,
) -> Lease {
    let granted = lease(&claim(store, connection, 0).await);
    mark(store, &granted, 1).await.unwrap();
    let failed = failed_after_write(class, 2);
    store.store_outcome(&granted, &failed, &[], event(), at(2)).await.unwrap();
    granted
}

/// Returns the verdict of a run without a defect, after a write of this class that ended at `ms`.
pub(in crate::store) fn failed_after_write(class: WriteClass, ms: i64) -> RowEnd {
    let reason = "POST / was sent".to_owned();
    let sent = SentWrites { class, forbidden: false, ended_at: at(ms), reason };
    let refusal = Refusal::Rejected("no such project".to_owned().into());
    RowEnd::NotCreated(NotCreated { refusal, sent: Some(sent) })
}

pub(in crate::store) fn defect(key: &str) -> Defect {
    Defect {
        key: key.to_owned(),
        title: "Checkout fails".to_owned(),
        link: format!("https://tracker.example/{key}"),
        status: Some("New".to_owned()),
        priority: None,
        description: None,
    }
}

/// Returns an entry of the audit log whose id and time are this number.
pub(in crate::store) fn audit_entry(number: u128) -> AuditEntry {
    AuditEntry {
        id: AuditId(Uuid::from_u128(number)),
        at: at(number as i64),
        account: Some("ann".to_owned()),
        role: Some(Role::Admin),
        client: [127, 0, 0, 1].into(),
        via: Via::Cli,
        action: "connection.pause".to_owned(),
        object: None,
        outcome: None,
        event: None,
        repeats: 0,
    }
}
