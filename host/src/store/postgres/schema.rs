//! Brings the schema up to date, and checks that the server's key is the one that seals the secrets.
//!
//! A database that is refused is not changed. Servers that start at the same time wait for each
//! other.

use super::errors::describe_error;
use super::session::Session;
use crate::secret::{Sealed, Sealer, Secret};
use crate::store::sql::database::{Database, params};
use crate::store::sql::meta::{self, KEY_CHECK};
use crate::store::{DatabaseError, StoreError};

/// A change of the schema.
struct Migration {
    sql: &'static str,
    /// Whether it only adds what servers without it do not miss: tables, indexes, and columns that may
    /// be NULL or have a default. These servers then go on while a newer one starts.
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
    in_transaction(session, || {
        migrate(session)?;
        check_key(session, sealer)
    })
}

/// Runs work under the store's lock in one transaction, for as long as the session waits for a
/// statement.
pub(super) fn in_transaction<T>(
    session: &Session,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; \
                 SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";
    run(session, &format!("{begin}; {LOCK}"))?;
    session.in_transaction.set(true);
    let done = work();
    session.in_transaction.set(false);
    match done {
        Ok(value) => {
            run(session, "COMMIT")?;
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

fn migrate(session: &Session) -> Result<(), StoreError> {
    let db: &dyn Database = session;
    let versions = "CREATE TABLE IF NOT EXISTS schema_version \
                    (version bigint NOT NULL, usable_by bigint NOT NULL)";
    run(session, versions)?;
    let stored: Option<(usize, usize)> =
        db.one("SELECT version, usable_by FROM schema_version", params![])?;
    let (done, usable_by) = stored.unwrap_or_default();
    let Some(missing) = MIGRATIONS.get(done..) else {
        if usable_by <= MIGRATIONS.len() {
            tracing::info!(schema = done, "a newer server changed the schema: this one can use it");
            return Ok(());
        }
        return Err(StoreError::Unusable(format!(
            "the database {} was written by a newer Jackfield (its schema is {done}); run that \
             version, or restore a backup that is older than the update",
            session.address.place
        )));
    };
    for migration in missing {
        run(session, migration.sql)?;
    }
    if !missing.is_empty() {
        let (version, oldest) = (MIGRATIONS.len(), oldest_user(&MIGRATIONS));
        run(
            session,
            &format!(
                "DELETE FROM schema_version; INSERT INTO schema_version VALUES ({version}, {oldest})"
            ),
        )?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_go_on_with_a_schema_to_which_was_only_added() {
        let after = |only_adds: &[bool]| {
            let migration = |only_adds| Migration { sql: "", only_adds };
            oldest_user(&only_adds.iter().copied().map(migration).collect::<Vec<_>>())
        };
        assert_eq!(after(&[false]), 1);
        assert_eq!(after(&[false, true]), 1);
        assert_eq!(after(&[false, true, true]), 1);
        assert_eq!(after(&[false, true, false]), 3);
    }
}
