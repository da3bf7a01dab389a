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
    /// What is known of its standbys.
    pub standbys: Standbys,
}

/// What a primary says of its standbys.
#[derive(Debug, Clone, Default)]
pub struct Standbys {
    /// How many are connected.
    pub connected: i64,
    /// The names of those that are connected.
    pub names: String,
    /// The setting `synchronous_standby_names`.
    pub setting: String,
    /// How many have to confirm each commit.
    pub required: i64,
    /// How many are connected whose confirmation counts. `None`: the user may not see it.
    pub confirming: Option<i64>,
    /// The user, as SQL names it.
    pub user: String,
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
                   (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now";
    let row = ask(session, sql)?;
    let answered = SystemClock.now().as_millisecond();
    let now: i64 = row.try_get("now").map_err(failed)?;
    Ok(PostgresFindings {
        version: row.try_get("version").map_err(failed)?,
        clock_ahead_ms: now.saturating_sub(asked.midpoint(answered)),
        is_pooled: is_pooled(session, second)?,
        is_standby: row.try_get("standby").map_err(failed)?,
        standbys: standbys(session)?,
    })
}

/// Without a number before the names, one standby has to confirm. PostgreSQL shows the state of the
/// standbys, which is never null, only to users with `pg_read_all_stats`.
fn standbys(session: &Session) -> Result<Standbys, DatabaseError> {
    let sql = r"
        SELECT count(pid) AS connected, coalesce(string_agg(application_name, ', '), '') AS names,
               setting, quote_ident(current_user) AS user_name,
               CASE WHEN setting = '' THEN 0 ELSE coalesce(
                   substring(setting FROM '(?i)^\s*(?:(?:first|any)\s+)?(\d+)\s*\('), '1')::bigint
               END AS required,
               CASE WHEN count(pid) = count(sync_state) THEN
                   count(*) FILTER (WHERE sync_state IN ('sync', 'quorum'))
               END AS confirming
        FROM (SELECT current_setting('synchronous_standby_names') AS setting) AS names
            LEFT JOIN pg_stat_replication ON true
        GROUP BY setting";
    let row = ask(session, sql)?;
    let failed = |error: Error| describe_error(&session.address.place, &error);
    Ok(Standbys {
        connected: row.try_get("connected").map_err(failed)?,
        names: row.try_get("names").map_err(failed)?,
        setting: row.try_get("setting").map_err(failed)?,
        required: row.try_get("required").map_err(failed)?,
        confirming: row.try_get("confirming").map_err(failed)?,
        user: row.try_get("user_name").map_err(failed)?,
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
