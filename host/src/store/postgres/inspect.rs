//! Inspects a PostgreSQL database: its version, its clock and its standbys, and whether it is
//! reached through a connection pool. Never changes the database.

use sqlx::postgres::PgRow;
use sqlx::{Error, Row as _};

use super::errors::{describe_error, pool_error};
use super::session::Session;
use crate::domain::{Clock as _, SystemClock};
use crate::store::DatabaseError;

/// The result of the inspection of a database.
#[derive(Debug, Clone)]
pub struct PostgresFindings {
    /// The version of the PostgreSQL server.
    pub version: String,
    /// How far the database's clock is ahead of this machine's clock, milliseconds. Negative if the
    /// database's clock is behind.
    pub clock_ahead_ms: i64,
    /// Whether a connection pool, such as PgBouncer, lets several clients share one session of
    /// PostgreSQL.
    pub is_pooled: bool,
    /// Whether the PostgreSQL server is a standby, which refuses changes.
    pub is_standby: bool,
    /// The standbys of the PostgreSQL server.
    pub standbys: Standbys,
}

/// The standbys of a primary, as the primary reports them.
#[derive(Debug, Clone, Default)]
pub struct Standbys {
    /// Number of connected standbys.
    pub connected: i64,
    /// The names of the connected standbys, separated by commas.
    pub names: String,
    /// The value of the setting `synchronous_standby_names`.
    pub setting: String,
    /// Number of standbys that must confirm each commit.
    pub required: i64,
    /// Number of connected standbys whose confirmations are counted towards `required`. `None` if
    /// the user has no right to read this.
    pub confirming: Option<i64>,
    /// The user of the database connection, quoted as an SQL identifier.
    pub user: String,
}

/// How many times the id of the server process of each session is read. Once is not enough: if
/// another client of the pool uses the shared server process at that moment, the two sessions get
/// different processes.
const COMPARISONS: usize = 3;

/// Inspects a database. The two sessions show whether the database is reached through a pool.
pub(super) fn inspect(
    session: &Session,
    second: &Session,
) -> Result<PostgresFindings, DatabaseError> {
    session.connect()?;
    let failed = |error: Error| describe_error(&session.address.display_url, &error);
    let before_ms = SystemClock.now().as_millisecond();
    let sql = "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
                   (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now";
    let row = query_row(session, sql)?;
    let after_ms = SystemClock.now().as_millisecond();
    let now: i64 = row.try_get("now").map_err(failed)?;
    Ok(PostgresFindings {
        version: row.try_get("version").map_err(failed)?,
        clock_ahead_ms: now.saturating_sub(before_ms.midpoint(after_ms)),
        is_pooled: is_pooled(session, second)?,
        is_standby: row.try_get("standby").map_err(failed)?,
        standbys: read_standbys(session)?,
    })
}

/// Reads the state of the standbys. If `synchronous_standby_names` has no number before the names,
/// one standby must confirm. Users without `pg_read_all_stats` see NULL as the `sync_state` of a
/// standby, which otherwise is never NULL.
fn read_standbys(session: &Session) -> Result<Standbys, DatabaseError> {
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
    let row = query_row(session, sql)?;
    let failed = |error: Error| describe_error(&session.address.display_url, &error);
    Ok(Standbys {
        connected: row.try_get("connected").map_err(failed)?,
        names: row.try_get("names").map_err(failed)?,
        setting: row.try_get("setting").map_err(failed)?,
        required: row.try_get("required").map_err(failed)?,
        confirming: row.try_get("confirming").map_err(failed)?,
        user: row.try_get("user_name").map_err(failed)?,
    })
}

/// Refuses a pool that assigns a session to each transaction, because the settings, prepared
/// statements and notifications of this server belong to a session.
pub(super) fn refuse_pool(session: &Session, second: &Session) -> Result<(), DatabaseError> {
    let error = is_pooled(session, second)?.then(|| pool_error(&session.address.display_url));
    error.map_or(Ok(()), Err)
}

/// Whether a pool lets several clients share one session of PostgreSQL. In this case, both
/// arguments use the same server process of PostgreSQL, or one of them changes its process.
fn is_pooled(session: &Session, second: &Session) -> Result<bool, DatabaseError> {
    second.connect()?;
    let (first_id, second_id) = (backend_process_id(session)?, backend_process_id(second)?);
    for _ in 1..COMPARISONS {
        if first_id == second_id
            || backend_process_id(session)? != first_id
            || backend_process_id(second)? != second_id
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn backend_process_id(session: &Session) -> Result<i32, DatabaseError> {
    let row = query_row(session, "SELECT pg_backend_pid()")?;
    row.try_get(0).map_err(|error| describe_error(&session.address.display_url, &error))
}

/// Returns the first row of a query. Does not prepare the statement: in the session that a pool
/// assigns, a prepared statement may be missing, or may already exist.
fn query_row(session: &Session, sql: &'static str) -> Result<PgRow, DatabaseError> {
    let row =
        session.with_connection(async |connection| sqlx::raw_sql(sql).fetch_one(connection).await);
    row.map_err(|error| describe_error(&session.address.display_url, &error))
}
