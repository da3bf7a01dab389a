//! Brings the schema up to date, and checks that the server's key is the one that seals the
//! secrets.
//!
//! A database that is refused is not changed. Servers that start at the same time wait for each
//! other.

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::time::Duration;
use std::{mem, thread};

use sqlx::postgres::PgConnection;
use sqlx::{Error, query_as};

use super::errors::{describe_error, is_busy, standby};
use super::session::Session;
use crate::secret::{Sealed, Sealer, Secret};
use crate::store::sql::database::{Database, params};
use crate::store::sql::meta::{self, KEY_CHECK};
use crate::store::{DatabaseError, StoreError};

/// How long a change that only adds waits for a lock of the database, milliseconds: the servers
/// wait as long.
const LOCK_MS: u64 = 2_000;
/// The pause before it is tried again. The servers go on meanwhile.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// A change of the schema.
#[derive(Clone, Copy)]
struct Migration {
    sql: &'static str,
    /// Whether it only adds what servers without it do not miss: tables, indexes, and columns that
    /// may be NULL or have a default. These servers then go on while a newer one starts.
    only_adds: bool,
}

/// The changes of the schema, in order. A released change is never edited.
const MIGRATIONS: [Migration; 1] = [Migration {
    sql: include_str!("../../../migrations/postgres/0001_start.sql"),
    only_adds: false,
}];

/// Takes the lock of the store until the end of the transaction: of the servers that share it, one
/// changes it at a time.
pub(super) const LOCK: &str =
    "SELECT pg_advisory_xact_lock(hashtext('jackfield'), hashtext(current_schema()))";

/// Migrates and checks the database in one transaction.
pub(super) fn prepare(session: &Session, sealer: &Sealer) -> Result<(), StoreError> {
    prepare_with(session, sealer, &MIGRATIONS)
}

/// The same with these migrations. Tries again while another session, for example that of
/// `pg_dump`, locks a table that one of them changes.
fn prepare_with(
    session: &Session,
    sealer: &Sealer,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let mut is_logged = false;
    loop {
        let prepared = in_transaction(session, || {
            migrate(session, migrations)?;
            Ok(check_key(session, sealer)?)
        });
        match prepared {
            Ok(()) => return Ok(()),
            Err(Unprepared::Refused(error)) => return Err(error),
            Err(Unprepared::Busy(error)) => {
                if !mem::replace(&mut is_logged, true) {
                    tracing::warn!(%error, "the schema is brought up to date when the database is free");
                }
                thread::sleep(BUSY_PAUSE);
            }
        }
    }
}

/// Why the schema is not up to date.
enum Unprepared {
    /// A table was in use for longer than the servers may wait.
    Busy(DatabaseError),
    Refused(StoreError),
}

impl From<DatabaseError> for Unprepared {
    fn from(error: DatabaseError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<StoreError> for Unprepared {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// Runs work under the store's lock in one transaction, for as long as the session waits for a
/// statement.
pub(super) fn in_transaction<T, E: From<DatabaseError>>(
    session: &Session,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; \
                 SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
                 SET LOCAL synchronous_commit = on";
    run(session, &format!("{begin}; {LOCK}"))?;
    session.in_transaction.set(true);
    let done = work();
    session.in_transaction.set(false);
    match done {
        Ok(value) => {
            session.commit()?;
            Ok(value)
        }
        Err(error) => {
            let _ = run(session, "ROLLBACK");
            Err(error)
        }
    }
}

fn run(session: &Session, sql: &str) -> Result<(), DatabaseError> {
    session.simple(sql).map_err(|error| describe_error(&session.address.place, &error))
}

fn migrate(session: &Session, migrations: &[Migration]) -> Result<(), Unprepared> {
    let versions = "CREATE TABLE IF NOT EXISTS schema_version \
                    (version bigint NOT NULL, usable_by bigint NOT NULL)";
    run(session, versions)?;
    let (done, usable_by) = stored_version(session)?;
    let Some(missing) = migrations.get(done..) else {
        if usable_by <= migrations.len() {
            tracing::info!(schema = done, "a newer server changed the schema: this one can use it");
            return Ok(());
        }
        return Err(of_newer_server(&session.address.place, done).into());
    };
    // Other servers wait for the store's lock. If they may go on after the change, they must not
    // wait until a table is free.
    if missing.iter().all(|it| it.only_adds) {
        run(session, &format!("SET LOCAL lock_timeout = {LOCK_MS}"))?;
    }
    for migration in missing {
        session.simple(migration.sql).map_err(|error| {
            let described = describe_error(&session.address.place, &error);
            if is_busy(&error) { Unprepared::Busy(described) } else { described.into() }
        })?;
    }
    if !missing.is_empty() {
        let (version, oldest) = (migrations.len(), oldest_user(migrations));
        run(
            session,
            &format!(
                "DELETE FROM schema_version; INSERT INTO schema_version VALUES ({version}, {oldest})"
            ),
        )?;
    }
    Ok(())
}

/// The number of changes that were made, and the oldest schema whose servers can use the result.
fn stored_version(db: &dyn Database) -> Result<(usize, usize), StoreError> {
    let sql = "SELECT version, usable_by FROM schema_version";
    Ok(db.one(sql, params![])?.unwrap_or_default())
}

/// Refuses a standby, and a schema that a newer server has changed so that this one cannot use it.
pub(super) async fn check_usable(connection: &mut PgConnection, place: &str) -> Result<(), Error> {
    let sql = "SELECT version, usable_by, pg_is_in_recovery() FROM schema_version";
    let stored: Option<(i64, i64, bool)> = query_as(sql).fetch_optional(connection).await?;
    let is_newer = |usable_by| usize::try_from(usable_by).is_ok_and(|it| it > MIGRATIONS.len());
    match stored {
        Some((_, _, true)) => Err(Error::Configuration(Box::new(standby(place)))),
        Some((version, usable_by, _)) if is_newer(usable_by) => {
            Err(Error::Configuration(Box::new(of_newer_server(place, version))))
        }
        _ => Ok(()),
    }
}

fn of_newer_server(place: &str, schema: impl Display) -> DatabaseError {
    DatabaseError::new(
        format!("the database {place} was written by a newer Jackfield"),
        format!("its schema is {schema}"),
        Some("run that version, or restore a backup that is older than the update"),
    )
}

/// The oldest schema whose servers can use the schema after these changes.
fn oldest_user(migrations: &[Migration]) -> usize {
    migrations.iter().rposition(|it| !it.only_adds).map_or(0, |last| last.saturating_add(1))
}

/// Seals a text at the first start; at every later start, checks that the key opens it.
fn check_key(session: &Session, sealer: &Sealer) -> Result<(), StoreError> {
    let Some(sealed) = meta::read(session, KEY_CHECK)? else {
        let sealed = sealer
            .seal(KEY_CHECK, &Secret::new(KEY_CHECK.to_owned()))
            .map_err(|error| DatabaseError::new("the key cannot seal the secrets", error, None))?;
        return meta::write(session, KEY_CHECK, sealed.0);
    };
    sealer.open_sealed(KEY_CHECK, &Sealed(sealed)).map(drop).map_err(|_| {
        StoreError::Unusable(format!(
            "the secrets in the database {} were sealed with another key: give this server the key \
             of the servers that use it",
            session.address.place
        ))
    })
}
