//! Updates the schema, and checks that the secrets in the database were sealed (encrypted) with the
//! server's key.
//!
//! Never changes a database that it refuses. Servers that start at the same time wait for each
//! other.

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::time::Duration;
use std::{mem, thread};

use sqlx::postgres::PgConnection;
use sqlx::{Error, query_as};

use super::errors::{describe_error, is_lock_timeout, standby_error};
use super::session::Session;
use crate::secret::{Sealed, Sealer, Secret};
use crate::store::sql::database::{Database, params};
use crate::store::sql::meta::{self, KEY_CHECK};
use crate::store::{DatabaseError, StoreError};

/// How long an additive migration waits for the lock of a table, milliseconds. The running servers
/// are blocked during this wait.
const LOCK_WAIT_MS: u64 = 2_000;
/// The pause before the next attempt at a migration that did not get a lock. The running servers
/// continue during this pause.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
struct Migration {
    sql: &'static str,
    /// Whether the change only adds tables, indexes, and columns that may be NULL or have a
    /// default. Older servers can then use the changed schema, and continue while a newer server
    /// starts.
    is_additive: bool,
}

/// All migrations, in order. Never edit a migration that was released.
const MIGRATIONS: [Migration; 1] = [Migration {
    sql: include_str!("../../../migrations/postgres/0001_start.sql"),
    is_additive: false,
}];

/// Takes the store's lock until the end of the transaction. Only one of the servers that share a
/// store has this lock at a time. Only the server that has the lock may change the store, except
/// that every server may write its history.
pub(super) const TAKE_STORE_LOCK: &str =
    "SELECT pg_advisory_xact_lock(hashtext('jackfield'), hashtext(current_schema()))";

pub(super) fn prepare(session: &Session, sealer: &Sealer) -> Result<(), StoreError> {
    prepare_with(session, sealer, &MIGRATIONS)
}

/// Updates the schema with these migrations and checks the server's key. If all missing migrations
/// are additive, tries again while another session, for example of `pg_dump`, locks a table that a
/// migration changes.
fn prepare_with(
    session: &Session,
    sealer: &Sealer,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let mut is_logged = false;
    loop {
        let prepared = run_in_transaction(session, || {
            migrate(session, migrations)?;
            Ok(check_key(session, sealer)?)
        });
        match prepared {
            Ok(()) => return Ok(()),
            Err(PrepareError::Refused(error)) => return Err(error),
            Err(PrepareError::Busy(error)) => {
                if !mem::replace(&mut is_logged, true) {
                    tracing::warn!(
                        %error,
                        "the schema cannot be updated yet: another session locks a table; trying \
                         again every second"
                    );
                }
                thread::sleep(BUSY_PAUSE);
            }
        }
    }
}

enum PrepareError {
    /// Another session locked a table for longer than [`LOCK_WAIT_MS`].
    Busy(DatabaseError),
    Refused(StoreError),
}

impl From<DatabaseError> for PrepareError {
    fn from(error: DatabaseError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<StoreError> for PrepareError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// Runs `work` in one transaction, under the store's lock. Switches off the time limits of
/// PostgreSQL, so that only the session's own time limit for an answer remains.
pub(super) fn run_in_transaction<T, E: From<DatabaseError>>(
    session: &Session,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; \
                 SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
                 SET LOCAL synchronous_commit = on";
    execute_sql(session, &format!("{begin}; {TAKE_STORE_LOCK}"))?;
    session.is_in_transaction.set(true);
    let done = work();
    session.is_in_transaction.set(false);
    match done {
        Ok(value) => {
            session.commit()?;
            Ok(value)
        }
        Err(error) => {
            let _ = execute_sql(session, "ROLLBACK");
            Err(error)
        }
    }
}

fn execute_sql(session: &Session, sql: &str) -> Result<(), DatabaseError> {
    session.execute_sql(sql).map_err(|error| describe_error(&session.address.display_url, &error))
}

fn migrate(session: &Session, migrations: &[Migration]) -> Result<(), PrepareError> {
    let versions = "CREATE TABLE IF NOT EXISTS schema_version \
                    (version bigint NOT NULL, usable_by bigint NOT NULL)";
    execute_sql(session, versions)?;
    let (done, usable_by) = stored_version(session)?;
    let Some(missing) = migrations.get(done..) else {
        if usable_by <= migrations.len() {
            tracing::info!(
                schema = done,
                "a newer server changed the schema; this server can still use it"
            );
            return Ok(());
        }
        return Err(newer_schema_error(&session.address.display_url, done).into());
    };
    // Running servers wait for the store's lock during the migrations. If they can use the new
    // schema, limit this wait, because another session may lock a table for a long time.
    if missing.iter().all(|it| it.is_additive) {
        execute_sql(session, &format!("SET LOCAL lock_timeout = {LOCK_WAIT_MS}"))?;
    }
    for migration in missing {
        session.execute_sql(migration.sql).map_err(|error| {
            let described = describe_error(&session.address.display_url, &error);
            if is_lock_timeout(&error) { PrepareError::Busy(described) } else { described.into() }
        })?;
    }
    if !missing.is_empty() {
        let (version, oldest) = (migrations.len(), oldest_compatible_version(migrations));
        execute_sql(
            session,
            &format!(
                "DELETE FROM schema_version; INSERT INTO schema_version VALUES ({version}, {oldest})"
            ),
        )?;
    }
    Ok(())
}

/// Returns the number of migrations of the database, and how many migrations a server must know to
/// use the database. Both are 0 in an empty database.
fn stored_version(db: &dyn Database) -> Result<(usize, usize), StoreError> {
    let sql = "SELECT version, usable_by FROM schema_version";
    Ok(db.first_row(sql, params![])?.unwrap_or_default())
}

/// Refuses a standby. Also refuses a schema that this server cannot use because a newer server
/// changed it.
pub(super) async fn check_usable(
    connection: &mut PgConnection,
    database: &str,
) -> Result<(), Error> {
    let sql = "SELECT version, usable_by, pg_is_in_recovery() FROM schema_version";
    let stored: Option<(i64, i64, bool)> = query_as(sql).fetch_optional(connection).await?;
    let is_newer = |usable_by| usize::try_from(usable_by).is_ok_and(|it| it > MIGRATIONS.len());
    match stored {
        Some((_, _, true)) => Err(Error::Configuration(Box::new(standby_error(database)))),
        Some((version, usable_by, _)) if is_newer(usable_by) => {
            Err(Error::Configuration(Box::new(newer_schema_error(database, version))))
        }
        _ => Ok(()),
    }
}

fn newer_schema_error(database: &str, schema: impl Display) -> DatabaseError {
    DatabaseError::new(
        format!("the database {database} was written by a newer Jackfield"),
        format!("its schema is {schema}"),
        Some("run that version, or restore a backup that is older than the update"),
    )
}

/// Returns how many of these migrations a server must know to use the schema after all of them.
fn oldest_compatible_version(migrations: &[Migration]) -> usize {
    migrations.iter().rposition(|it| !it.is_additive).map_or(0, |last| last.saturating_add(1))
}

/// At the first start, seals a text and stores it. At every later start, checks that the server's
/// key opens this text.
fn check_key(session: &Session, sealer: &Sealer) -> Result<(), StoreError> {
    let Some(sealed) = meta::read(session, KEY_CHECK)? else {
        let sealed = sealer
            .seal(KEY_CHECK, &Secret::new(KEY_CHECK.to_owned()))
            .map_err(|error| DatabaseError::new("the key cannot seal the secrets", error, None))?;
        return meta::write(session, KEY_CHECK, sealed.0);
    };
    sealer.open_sealed(KEY_CHECK, &Sealed(sealed)).map(drop).map_err(|_| {
        StoreError::Unusable(format!(
            "the secrets in the database {} were sealed with another key: start this server with \
             the key of the servers that use this database",
            session.address.display_url
        ))
    })
}
