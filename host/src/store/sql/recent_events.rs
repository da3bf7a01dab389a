//! Counts recent events for the overview page. Never reads the whole history.

use jiff::Timestamp;
use uuid::Uuid;

use super::database::{Database, params};
use crate::domain::{MinuteOfEvents, RecentEvents};
use crate::store::StoreError;

const HOUR_MS: i64 = 60 * 60 * 1_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Ids sort by time, so only the newest rows are read. The counts of the last day read only
/// indexes.
pub(super) fn count(db: &dyn Database, now: Timestamp) -> Result<RecentEvents, StoreError> {
    let now = now.as_millisecond();
    let minutes = db.all_rows::<(i64, i64, i64)>(
        "SELECT received_at / 60000 AS minute, COUNT(*) FILTER (WHERE status < 400),
             COUNT(*) FILTER (WHERE status >= 400)
         FROM events WHERE id >= ? AND status IS NOT NULL AND kind <> 'no-connection'
         GROUP BY minute ORDER BY minute",
        params![smallest_id_of_ms(now - HOUR_MS)],
    )?;
    let minute = |(minute, answered, failed): (i64, i64, i64)| MinuteOfEvents {
        minute,
        answered: answered.unsigned_abs(),
        failed: failed.unsigned_abs(),
    };
    let first = smallest_id_of_ms(now - DAY_MS);
    let day = params![first];
    let unrecognised: i64 = db
        .required_row("SELECT COUNT(*) FROM events WHERE kind = 'unrecognised' AND id >= ?", day)?;
    let no_connection: i64 = db.required_row(
        "SELECT COUNT(*) FROM events WHERE kind = 'no-connection' AND id >= ?",
        day,
    )?;
    Ok(RecentEvents {
        minutes: minutes.into_iter().map(minute).collect(),
        unrecognised: unrecognised.unsigned_abs(),
        no_connection: no_connection.unsigned_abs(),
    })
}

/// Returns the smallest id that an event of this millisecond can have.
fn smallest_id_of_ms(ms: i64) -> Uuid {
    Uuid::from_u128(u128::from(ms.unsigned_abs()) << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_event_is_between_the_smallest_ids_before_and_after_its_time() {
        let id = Uuid::now_v7();
        let at = id.get_timestamp().map_or(0, |it| it.to_unix().0.cast_signed() * 1_000);
        assert!(smallest_id_of_ms(at - 1_000) < id && id < smallest_id_of_ms(at + 1_000));
    }
}
