//! Tests that this version of Jackfield can use a database with an older schema.

use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{Connection as Database, params};
use tempfile::tempdir;
use uuid::Uuid;

use super::super::file::MIGRATIONS;
use super::*;
use crate::domain::{
    Call, ConnectionId, DefectId, EventId, OutcomeCode, StringEnum as _, WriteClass,
};
use crate::store::{ConnectionStore as _, DefectStore as _, EventStore as _};
use crate::store::{EventFilter, Retention};

/// The outcome codes that the second migration replaces, each with its new code.
const CHANGED_CODES: [(&str, OutcomeCode); 13] = [
    ("connector-broke", OutcomeCode::ConnectorFault),
    ("content-type", OutcomeCode::UnsupportedMediaType),
    ("deadline", OutcomeCode::DeadlineExceeded),
    ("host-full", OutcomeCode::Overloaded),
    ("internal", OutcomeCode::InternalError),
    ("invalid", OutcomeCode::InvalidValues),
    ("no-connector", OutcomeCode::ConnectorUnavailable),
    ("other-project", OutcomeCode::WrongProject),
    ("resting", OutcomeCode::CircuitOpen),
    ("settling", OutcomeCode::OutcomePending),
    ("store-down", OutcomeCode::StoreUnavailable),
    ("too-large", OutcomeCode::PayloadTooLarge),
    ("tracker-limits", OutcomeCode::TrackerRateLimited),
];

const CONNECTION: ConnectionId = ConnectionId(Uuid::from_u128(1));
const DOUBTFUL_DEFECT: DefectId = DefectId(Uuid::from_u128(2));
const RELEASED_DEFECT: DefectId = DefectId(Uuid::from_u128(3));

fn open_database(folder: &TempDir) -> (PathBuf, Database) {
    let path = folder.path().join("jackfield.db");
    let database = Database::open(&path).unwrap();
    database.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
    (path, database)
}

/// Creates a file of the first schema with a connection, two defects and a decision. For each of
/// `outcomes`, in their order, the file has one event with one run.
fn create_old_database(folder: &TempDir, outcomes: &[&str]) {
    let (_, db) = open_database(folder);
    db.execute_batch(MIGRATIONS[0]).unwrap();
    // The first versions of Jackfield counted their migrations in this table.
    let counted = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY);
                   INSERT INTO _sqlx_migrations VALUES (1);";
    db.execute_batch(counted).unwrap();
    let (test, case) = (failed_test(1).key().0, failed_test(1).key().1);
    let rows = format!(
        "INSERT INTO connections (id, name, connector, settings, grants, allow_private, paused,
             token_tail, created_at, last_error_at, last_error)
         VALUES ('{CONNECTION}', 'shop', 'redmine', '{{}}', '{{\"origins\":[]}}', 0, 0, 'abcd', 0,
             1, 'settling');
         INSERT INTO defects (id, connection_id, test_execution_id, test_case_id, variation_id,
             generation, marker, state, closed, fence, write_ended_at, looks, next_look_at, defect,
             created_at, updated_at)
         VALUES ('{RELEASED_DEFECT}', '{CONNECTION}', '{test}', '{case}', '', 1, 'm', 'created', 1, 3,
             NULL, 0, NULL, '{{\"key\":\"QA-1\",\"title\":\"t\",\"link\":\"https://t.example\"}}',
             0, 0),
             ('{DOUBTFUL_DEFECT}', '{CONNECTION}', '{test}', '{case}', 'v', 1, 'm', 'in-doubt', 0, 1,
             500, 4, 1000, NULL, 0, 0);
         INSERT INTO decisions (defect_id, at, who, what)
         VALUES ('{RELEASED_DEFECT}', 7, 'ann', 'release');"
    );
    db.execute_batch(&rows).unwrap();
    for (number, outcome) in outcomes.iter().enumerate() {
        let id = EventId(Uuid::from_u128(number as u128 + 1));
        db.execute(
            "INSERT INTO events (id, connection_id, kind, received_at, ms, status, outcome, detail,
                 request) VALUES (?, ?, 'create-defect', 0, 1, 503, ?, '',
                 '{\"method\":\"POST\",\"path\":\"/\"}')",
            params![id.to_string(), CONNECTION.to_string(), outcome],
        )
        .unwrap();
        let report = format!(
            r#"{{"call":"create","outcome":"{outcome}","connector_version":"1.0.0",
               "connector_sha256":"00","log":[],"calls":[],
               "usage":{{"memory_bytes":9,"turns":5,"yields":2}}}}"#
        );
        db.execute(
            "INSERT INTO runs (event_id, seq, report) VALUES (?, 1, ?)",
            params![id.to_string(), report],
        )
        .unwrap();
    }
    db.close().unwrap();
}

fn all_events() -> EventFilter {
    EventFilter { limit: 99, ..EventFilter::default() }
}

#[tokio::test]
async fn a_migration_replaces_outcome_codes_of_the_first_schema() {
    let folder = tempdir().unwrap();
    let unchanged = OutcomeCode::InDoubt;
    let mut words: Vec<_> = CHANGED_CODES.iter().map(|(word, _)| *word).collect();
    words.push(unchanged.as_str());
    create_old_database(&folder, &words);

    let store = open(&folder).await;
    let codes = CHANGED_CODES.iter().map(|(_, code)| *code).chain([unchanged]);
    let codes: Vec<_> = codes.collect();
    let events = store.events(&all_events()).await.unwrap();
    let mut stored: Vec<_> = events.iter().map(|event| event.outcome.code).collect();
    stored.reverse();
    assert_eq!(stored, codes);
    for (event, code) in events.iter().rev().zip(codes) {
        let found = store.event(event.id).await.unwrap().unwrap();
        let run = &found.runs[0];
        assert!(found.steps.is_empty() && run.times.is_none());
        assert_eq!((run.call, run.outcome), (Call::Create, code));
        assert_eq!((run.usage.memory_bytes, run.usage.polls, run.usage.yields), (9, 5, 2));
    }
    let record = store.connections().await.unwrap().remove(0).record;
    assert_eq!(record.last_error.unwrap().1, "outcome-pending");
}

#[tokio::test]
async fn a_migration_keeps_the_values_of_renamed_columns() {
    let folder = tempdir().unwrap();
    create_old_database(&folder, &[]);
    let store = open(&folder).await;
    let released = store.defect(RELEASED_DEFECT).await.unwrap().unwrap();
    let decided = Timestamp::from_millisecond(7).unwrap();
    assert_eq!(released.decisions, [(decided, "ann".to_owned(), "release".to_owned())]);
    let created = store.created_defect(CONNECTION, &failed_test(1)).await.unwrap();
    assert_eq!(created, None, "the row must still be released");

    let time = |ms| Timestamp::from_millisecond(ms).unwrap();
    let due =
        async |ms| store.due_searches(time(ms), RUN_MS, Vec::new(), DUE_LIMITS).await.unwrap();
    assert_eq!(due(999).await, []);
    assert_eq!(due(1_000).await[0].id, DOUBTFUL_DEFECT);
    let claimed = store.claim_search(DOUBTFUL_DEFECT, time(1_000), time(1_001)).await.unwrap();
    assert_eq!(claimed.unwrap().doubt.class, WriteClass::Acknowledged);
    // Four searches were made before, so the wait of 15 s is doubled four times.
    let next = 1_000 + 15_000 * 16;
    assert_eq!(due(next - 1).await, []);
    assert_eq!(due(next).await.len(), 1);
}

fn unlimited_retention() -> Retention {
    let (events_since, confirmed_by) = (at(0), at(0));
    Retention {
        events_since,
        confirmed_by,
        events_max: 9,
        no_connection_events_max: 9,
        events_bytes_max: u64::MAX,
    }
}

#[tokio::test]
async fn a_migration_keeps_the_decisions_and_steps_of_a_defect() {
    let folder = tempdir().unwrap();
    create_old_database(&folder, &[]);
    let (_, db) = open_database(&folder);
    db.execute_batch("DROP TABLE _sqlx_migrations").unwrap();
    // Create the ninth schema. The eleventh migration copies its defects, decisions and steps.
    for sql in &MIGRATIONS[1..9] {
        db.execute_batch(sql).unwrap();
    }
    db.pragma_update(None, "user_version", 9).unwrap();
    let add = "INSERT INTO follow_ups (defect_id, step, name, next_at, updated_at)
               VALUES (?, 'attach', 'log.txt', 5, 0)";
    db.execute(add, params![RELEASED_DEFECT.0]).unwrap();
    drop(db);

    let store = open(&folder).await;
    let migrated = store.defect(RELEASED_DEFECT).await.unwrap().unwrap();
    assert_eq!(migrated.decisions.len(), 1);
    assert_eq!(migrated.follow_ups.len(), 1);
    assert_eq!(migrated.follow_ups[0].name, "log.txt");
    store.delete_connection(CONNECTION, true).await.unwrap();
    store.prune(unlimited_retention()).await.unwrap();
    assert_eq!(number(&store, "SELECT COUNT(*) FROM follow_ups").await, 0);
    assert_eq!(number(&store, "SELECT COUNT(*) FROM decisions").await, 0);
}

#[tokio::test]
async fn deleting_an_old_event_reduces_the_size_of_the_history() {
    let folder = tempdir().unwrap();
    create_old_database(&folder, &["created"]);
    let store = open(&folder).await;
    store.delete_connection(CONNECTION, true).await.unwrap();
    store.prune(unlimited_retention()).await.unwrap();
    assert_eq!(number(&store, "SELECT COUNT(*) FROM events").await, 0);
    assert_eq!(number(&store, "SELECT bytes FROM history_size").await, 0);
}

#[tokio::test]
async fn an_event_with_an_unknown_outcome_is_not_listed_and_its_error_names_it() {
    let folder = tempdir().unwrap();
    create_old_database(&folder, &["created", "from-the-future", "cached", "counted"]);
    let store = open(&folder).await;
    let number_of = |id: EventId| id.0.as_u128();
    let listed = |limit| {
        let store = &store;
        async move {
            let filter = EventFilter { limit, ..EventFilter::default() };
            let events = store.events(&filter).await.unwrap();
            events.iter().map(|event| number_of(event.id)).collect::<Vec<_>>()
        }
    };
    assert_eq!(listed(9).await, [4, 3, 1]);
    assert_eq!(
        listed(3).await,
        [4, 3, 1],
        "an event that cannot be read does not shorten the page"
    );
    assert_eq!(listed(2).await, [4, 3]);
    let unknown = EventId(Uuid::from_u128(2));
    let error = store.event(unknown).await.unwrap_err().to_string();
    for part in ["event", &unknown.to_string(), "from-the-future"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[tokio::test]
async fn a_file_with_another_key_is_refused_before_its_schema_changes() {
    let folder = tempdir().unwrap();
    create_old_database(&folder, &[]);
    let other = tempdir().unwrap();
    let (path, db) = open_database(&folder);
    let sealed = sealer(folder.path())
        .seal("key-check", &crate::secret::Secret::new("key-check".to_owned()))
        .unwrap();
    db.execute("INSERT INTO meta (name, value) VALUES ('key-check', ?)", params![sealed.0])
        .unwrap();
    db.close().unwrap();
    let before = std::fs::read(&path).unwrap();

    let refused = SqliteStore::open(&path, &sealer(other.path())).err().unwrap();
    assert!(refused.to_string().contains("another key"), "{refused}");
    assert!(std::fs::read(&path).unwrap() == before, "the refused file was changed");
    assert!(!path.with_extension("db-wal").exists(), "a write-ahead log exists");
}
