//! Reads how much of their limits the newest runs of some connections used. Limits the number of
//! events that it reads, and the bytes of their runs.

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::columns::time_opt;
use super::database::{Database, params, read_column_at};
use super::run_json::parse_usages;
use super::values::Value;
use crate::domain::{ConnectionId, RecentUsage, Usage};
use crate::store::StoreError;

/// Maximum number of events that are read in total.
const EVENTS_MAX: usize = 2_000;
/// The limit on the events that are read of one connection is never lower than this. So only the
/// first `EVENTS_MAX / CONNECTION_EVENTS_MIN` connections are read.
const CONNECTION_EVENTS_MIN: usize = 20;
/// Maximum size of the JSON of all runs that are read, bytes. Each connection may use an equal part
/// of it.
const RUNS_BYTES_MAX: usize = 8 << 20;

/// Returns the usage of the newest runs of these connections. Ignores events whose runs cannot be
/// read.
pub(super) fn read_recent(
    db: &dyn Database,
    connections: &[ConnectionId],
) -> Result<Option<RecentUsage>, StoreError> {
    let share = (EVENTS_MAX / connections.len().max(1)).max(CONNECTION_EVENTS_MIN);
    let bytes_max = RUNS_BYTES_MAX / connections.len().clamp(1, EVENTS_MAX / CONNECTION_EVENTS_MIN);
    let (mut runs, mut since) = (Vec::new(), None);
    for connection in connections.iter().take(EVENTS_MAX / CONNECTION_EVENTS_MIN) {
        let oldest = add_runs_of_connection(db, *connection, (share, bytes_max), &mut runs)?;
        since = [since, oldest].into_iter().flatten().min();
    }
    Ok(RecentUsage::of(since, &runs))
}

/// Adds the runs of a connection's newest events. Returns the `received_at` of the oldest event
/// whose runs it read.
fn add_runs_of_connection(
    db: &dyn Database,
    connection: ConnectionId,
    (events_max, bytes_max): (usize, usize),
    runs: &mut Vec<Usage>,
) -> Result<Option<Timestamp>, StoreError> {
    let (mut bytes, mut oldest) = (0, None);
    db.query(
        "SELECT received_at, runs FROM events WHERE connection_id = ? ORDER BY id DESC LIMIT ?",
        params![connection.0, events_max],
        &mut |row| {
            let Value::Text(json) = row.value(1)? else { return Ok(ControlFlow::Continue(())) };
            bytes += json.len();
            if bytes > bytes_max {
                return Ok(ControlFlow::Break(()));
            }
            runs.extend(parse_usages(json));
            oldest = Some(read_column_at::<i64>(row, 0, "received_at")?);
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(time_opt(oldest)?)
}
