//! What is known of a database before a server uses it, for `jackfield doctor`. Changes nothing.

use sqlx::postgres::PgRow;
use sqlx::{Error, Row as _};

use super::errors::{describe_error, pooled};
use super::session::Session;
use crate::domain::{Clock as _, SystemClock};
use crate::store::DatabaseError;

/// What is known of a database.
#[derive(Debug, Clone)]
pub struct PostgresFindings {
    /// The version of the server.
    pub version: String,
    /// How far the database's clock is ahead of this machine's, milliseconds.
    pub clock_ahead_ms: i64,
    /// Whether two connections shared one of the server: a pool gives each transaction another one.
    pub is_pooled: bool,
    /// Whether the server is a standby, which only reads.
    pub is_standby: bool,
    /// The number of standbys that are connected.
    pub standbys: i64,
    /// Whether a standby has to confirm each commit.
    pub is_synchronous: bool,
}

/// How often two sessions are compared: another client of the pool may be faster.
const COMPARISONS: usize = 3;

/// Asks a database by two connections.
pub(super) fn inspect(
    session: &Session,
    second: &Session,
) -> Result<PostgresFindings, DatabaseError> {
    session.connect()?;
    let failed = |error: Error| describe_error(&session.address.place, &error);
    let asked = SystemClock.now().as_millisecond();
    let sql = "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
                   (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now,
                   current_setting('synchronous_standby_names') <> '' AS synchronous,
                   (SELECT count(*) FROM pg_stat_replication) AS standbys";
    let row = ask(session, sql)?;
    let answered = SystemClock.now().as_millisecond();
    let now: i64 = row.try_get("now").map_err(failed)?;
    Ok(PostgresFindings {
        version: row.try_get("version").map_err(failed)?,
        clock_ahead_ms: now.saturating_sub(asked.midpoint(answered)),
        is_pooled: is_pooled(session, second)?,
        is_standby: row.try_get("standby").map_err(failed)?,
        standbys: row.try_get("standbys").map_err(failed)?,
        is_synchronous: row.try_get("synchronous").map_err(failed)?,
    })
}

/// Refuses a pool that gives each transaction another session: settings, prepared statements and
/// notifications would belong to other clients.
pub(super) fn refuse_pool(session: &Session, second: &Session) -> Result<(), DatabaseError> {
    let refused = is_pooled(session, second)?.then(|| pooled(&session.address.place));
    refused.map_or(Ok(()), Err)
}

/// Whether two sessions share one process of the server, or one of them changes its process.
fn is_pooled(session: &Session, second: &Session) -> Result<bool, DatabaseError> {
    second.connect()?;
    let (own, others) = (process(session)?, process(second)?);
    for _ in 1..COMPARISONS {
        if own == others || process(session)? != own || process(second)? != others {
            return Ok(true);
        }
    }
    Ok(false)
}

fn process(session: &Session) -> Result<i32, DatabaseError> {
    let row = ask(session, "SELECT pg_backend_pid()")?;
    row.try_get(0).map_err(|error| describe_error(&session.address.place, &error))
}

/// Without a prepared statement, which a pool may not have or have twice.
fn ask(session: &Session, sql: &'static str) -> Result<PgRow, DatabaseError> {
    let asked = session.run(async |it| sqlx::raw_sql(sql).fetch_one(it).await);
    asked.map_err(|error| describe_error(&session.address.place, &error))
}
