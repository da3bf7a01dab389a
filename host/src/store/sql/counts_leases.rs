//! The right to ask a tracker for the counts of a project: one server of those that share a database
//! has it at a time, and the others wait for its answer.
//!
//! An edit of the connection ends the right, because the counts may be those of another tracker.

use uuid::Uuid;

use super::counts;
use super::database::{Database, params};
use crate::domain::ConnectionId;
use crate::store::{CachedCounts, Change, CountsClaim, CountsClaimed, CountsLease, StoreError};

/// Returns counts that are fresh enough, or takes the right, or says until when another has it.
pub(super) fn claim(
    db: &dyn Database,
    id: ConnectionId,
    project: &str,
    claim: &CountsClaim,
) -> Result<CountsClaimed, StoreError> {
    let fresh = counts::get(db, id, project)?.filter(|it| it.counted_at >= claim.fresh_since);
    if let Some(fresh) = fresh {
        return Ok(CountsClaimed::Fresh(fresh));
    }
    let holder = Uuid::new_v4();
    let taken = db.change(
        "INSERT INTO counts_leases (connection_id, project, holder, lease_until)
         SELECT id, ?2, ?3, ?4 FROM connections WHERE id = ?1 AND NOT deleted
         ON CONFLICT (connection_id, project) DO UPDATE
             SET holder = excluded.holder, lease_until = excluded.lease_until
             WHERE counts_leases.lease_until <= ?5",
        params![
            id.0,
            project,
            holder,
            claim.lease_until.as_millisecond(),
            claim.now.as_millisecond()
        ],
    )?;
    if taken == 0 && is_held(db, id, project)? {
        return Ok(CountsClaimed::Busy);
    }
    let lease = CountsLease { connection: id, project: project.to_owned(), holder };
    Ok(CountsClaimed::Count(lease))
}

fn is_held(db: &dyn Database, id: ConnectionId, project: &str) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (
                   SELECT 1 FROM counts_leases WHERE connection_id = ? AND project = ?)";
    Ok(db.only(sql, params![id.0, project])?)
}

/// Gives the right back, and stores the counts unless it was lost.
pub(super) fn end(
    db: &dyn Database,
    lease: &CountsLease,
    counted: Option<CachedCounts>,
) -> Result<(), StoreError> {
    let (id, project) = (lease.connection, &lease.project);
    let ended = db.change(
        "DELETE FROM counts_leases WHERE connection_id = ? AND project = ? AND holder = ?",
        params![id.0, project, lease.holder],
    )?;
    if ended == 0 {
        return Ok(());
    }
    if let Some(counted) = counted {
        counts::record(db, id, project, counted)?;
        counts::delete_oldest(db, id)?;
    }
    Ok(db.notify(&Change::Counts(id, project.clone()))?)
}

/// Ends the right of every server to store counts of a connection.
pub(super) fn void(db: &dyn Database, id: ConnectionId) -> Result<(), StoreError> {
    db.change("DELETE FROM counts_leases WHERE connection_id = ?", params![id.0])?;
    Ok(())
}
