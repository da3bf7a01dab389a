//! What is known of a database before a server uses it, for `jackfield doctor`. Changes nothing.

use sqlx::Row as _;

use super::errors::describe_error;
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
    /// The number of standbys, if none of them has to confirm a commit.
    pub asynchronous_standbys: i64,
}

/// Asks a database by two connections.
pub(super) fn inspect(
    session: &Session,
    second: &Session,
) -> Result<PostgresFindings, DatabaseError> {
    session.connect()?;
    let place = &session.address.place;
    let failed = |error: sqlx::Error| describe_error(place, &error);
    let asked = SystemClock.now().as_millisecond();
    let sql = "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
                   (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now,
                   CASE current_setting('synchronous_standby_names') WHEN '' THEN
                       (SELECT count(*) FROM pg_stat_replication) ELSE 0 END AS asynchronous,
                   pg_backend_pid() AS process";
    let row = session.run(async |it| sqlx::query(sql).fetch_one(it).await).map_err(failed)?;
    let answered = SystemClock.now().as_millisecond();
    let now: i64 = row.try_get("now").map_err(failed)?;
    let process: i32 = row.try_get("process").map_err(failed)?;
    second.connect()?;
    let ask = "SELECT pg_backend_pid()";
    let other: i32 =
        second.run(async |it| sqlx::query_scalar(ask).fetch_one(it).await).map_err(failed)?;
    Ok(PostgresFindings {
        version: row.try_get("version").map_err(failed)?,
        clock_ahead_ms: now.saturating_sub(asked.midpoint(answered)),
        is_pooled: process == other,
        is_standby: row.try_get("standby").map_err(failed)?,
        asynchronous_standbys: row.try_get("asynchronous").map_err(failed)?,
    })
}
