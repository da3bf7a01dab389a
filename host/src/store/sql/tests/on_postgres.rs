//! Runs tests of the store on PostgreSQL. Each test has its own schema. `cargo xtask test` starts
//! the PostgreSQL server.

#![expect(clippy::duplicate_mod, reason = "the same tests run on each engine")]

#[path = "accounts.rs"]
mod accounts;
#[path = "connectors.rs"]
mod connectors;
#[path = "decisions.rs"]
mod decisions;
#[path = "doubts.rs"]
mod doubts;
#[path = "follow_ups.rs"]
mod follow_ups;
#[path = "history.rs"]
mod history;
#[path = "model.rs"]
mod model;
#[path = "rules.rs"]
mod rules;
#[path = "sharing.rs"]
mod sharing;
#[path = "together.rs"]
mod together;
#[path = "writer.rs"]
mod writer;

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::{TempDir, tempdir};

use self::history::an_event;
use super::*;
use crate::domain::OutcomeCode;
use crate::store::{ConnectionStore as _, EventStore as _};
use crate::store::{PostgresSettings, PostgresStore};

const ADDRESS_VARIABLE: &str = "TEST_POSTGRES";

/// Other servers may change the rows, so defects are not cached in memory.
const CACHES_DEFECTS: bool = false;

async fn open(folder: &TempDir) -> SqlStore {
    open_with_sealer(folder, sealer(folder.path())).await.unwrap()
}

async fn open_with_sealer(folder: &TempDir, sealer: Sealer) -> Result<SqlStore, StoreError> {
    let url = address();
    let schema = schema(folder);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let create = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
    connection.execute(sqlx::raw_sql(AssertSqlSafe(create))).await.unwrap();
    connection.close().await.unwrap();
    let mut url: url::Url = url.parse().unwrap();
    let mut parameters = url.query_pairs_mut();
    parameters.append_pair("options[search_path]", &schema);
    parameters.append_pair("application_name", &schema);
    drop(parameters);
    let settings = PostgresSettings {
        url,
        password: None,
        connections_max: 3,
        statement_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(30),
    };
    let starts = folder.path().join("postgres");
    Ok(PostgresStore::open(settings, sealer, &starts).await?.0)
}

fn address() -> String {
    std::env::var(ADDRESS_VARIABLE).unwrap_or_else(|_| {
        panic!(
            "set {ADDRESS_VARIABLE}, or run `cargo xtask test`: tests/postgres.sh starts a server"
        )
    })
}

fn schema(folder: &TempDir) -> String {
    let name = folder.path().file_name().unwrap().as_encoded_bytes();
    format!("test_{}", data_encoding::HEXLOWER.encode(name))
}

async fn store_with_connection(folder: &TempDir) -> (SqlStore, ConnectionId) {
    let store = open(folder).await;
    let new = stored_connection("shop");
    store.create_connection(&new).await.unwrap();
    (store, new.record.connection.id)
}

#[tokio::test]
async fn the_events_of_a_batch_are_written_with_few_statements() {
    let folder = tempdir().unwrap();
    let (store, connection) = store_with_connection(&folder).await;
    let mut database = PgConnection::connect(&address()).await.unwrap();
    let schema = schema(&folder);
    let count_statements = format!(
        "SET search_path = {schema};
         CREATE TABLE statements (of_table text);
         CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO {schema}.statements VALUES (TG_TABLE_NAME); RETURN NULL; END';
         CREATE TRIGGER count_statement AFTER INSERT ON events
             EXECUTE FUNCTION count_statement();
         CREATE TRIGGER count_statement AFTER INSERT ON event_words
             EXECUTE FUNCTION count_statement();"
    );
    database.execute(sqlx::raw_sql(AssertSqlSafe(count_statements))).await.unwrap();
    // The first batch waits for the lock until all events are queued, so there are at most two
    // batches.
    let mut lock = database.begin().await.unwrap();
    lock.execute("LOCK TABLE events IN EXCLUSIVE MODE").await.unwrap();
    for number in 1..=1_000 {
        // The column `connection_id` is NULL in the first row and in some other rows.
        let connection = (number % 3 != 1).then_some(connection);
        let mut event = an_event(number, connection, OutcomeCode::TrackerUnavailable, 502);
        event.outcome.detail = format!("words of the error {number}");
        store.record_event(event);
    }
    lock.commit().await.unwrap();
    store.flush().await.unwrap();
    let of_connection = "SELECT count(*) FROM events WHERE connection_id IS NOT NULL";
    assert_eq!(number(&store, of_connection).await, 666);
    let words = number(&store, "SELECT count(*) FROM event_words").await;
    assert!(words >= 2_000);
    // Each statement inserts at most 512 rows.
    let statements = "SELECT count(*) FROM statements WHERE of_table = 'events'";
    assert!((2..=3).contains(&number(&store, statements).await));
    let statements = "SELECT count(*) FROM statements WHERE of_table = 'event_words'";
    assert!(number(&store, statements).await <= words / 512 + 2);
}
