//! The lease to ask a tracker for the counts of a project: one server of those that share a
//! database has it at a time, and the others wait for its answer.
//!
//! An edit of the connection ends the lease, because the counts may be those of another tracker.

use jiff::Timestamp;

use super::counts;
use super::database::{Database, params};
use crate::domain::{ConnectionId, after};
use crate::store::{
    CLOCKS_DIFFER_MS, CachedCounts, Change, CountsClaim, CountsClaimed, CountsLease, StoreError,
};

/// Returns counts that are fresh enough, or takes the lease, or says that another server has it.
/// What is from the future does not count: the database's clock was set back.
pub(super) fn claim(
    db: &dyn Database,
    lease: &CountsLease,
    claim: &CountsClaim,
) -> Result<CountsClaimed, StoreError> {
    let (id, project) = (lease.connection, &lease.project);
    let fresh = claim.fresh_since..=after(claim.now, CLOCKS_DIFFER_MS);
    let fresh = counts::get(db, id, project)?.filter(|it| fresh.contains(&it.counted_at));
    if let Some(fresh) = fresh {
        return Ok(CountsClaimed::Fresh(fresh));
    }
    let taken = db.change(
        "INSERT INTO counts_leases (connection_id, project, holder, lease_until)
         SELECT id, ?2, ?3, ?4 FROM connections WHERE id = ?1 AND NOT deleted AND revision = ?7
         ON CONFLICT (connection_id, project) DO UPDATE
             SET holder = excluded.holder, lease_until = excluded.lease_until
             WHERE counts_leases.lease_until <= ?5 OR counts_leases.lease_until > ?6",
        params![
            id.0,
            project,
            lease.holder,
            claim.lease_until.as_millisecond(),
            claim.now.as_millisecond(),
            after(claim.lease_until, CLOCKS_DIFFER_MS).as_millisecond(),
            claim.revision.cast_signed()
        ],
    )?;
    if taken == 0 && is_held(db, id, project, claim.now)? {
        return Ok(CountsClaimed::Busy);
    }
    Ok(CountsClaimed::Count)
}

fn is_held(
    db: &dyn Database,
    id: ConnectionId,
    project: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (
                   SELECT 1 FROM counts_leases
                   WHERE connection_id = ? AND project = ? AND lease_until > ?)";
    Ok(db.only(sql, params![id.0, project, now.as_millisecond()])?)
}

/// Extends the lease, even if it has ended, unless another server has taken it.
pub(super) fn renew(
    db: &dyn Database,
    lease: &CountsLease,
    until: Timestamp,
) -> Result<(), StoreError> {
    db.change(
        "UPDATE counts_leases SET lease_until = ?
         WHERE connection_id = ? AND project = ? AND holder = ?",
        params![until.as_millisecond(), lease.connection.0, &lease.project, lease.holder],
    )?;
    Ok(())
}

/// Gives the lease back and stores the counts; false if it was lost.
pub(super) fn end(
    db: &dyn Database,
    lease: &CountsLease,
    counted: Option<CachedCounts>,
) -> Result<bool, StoreError> {
    let (id, project) = (lease.connection, &lease.project);
    let ended = db.change(
        "DELETE FROM counts_leases WHERE connection_id = ? AND project = ? AND holder = ?",
        params![id.0, project, lease.holder],
    )?;
    if ended == 0 {
        return Ok(false);
    }
    if let Some(counted) = counted {
        counts::record(db, id, project, &counted, CLOCKS_DIFFER_MS)?;
        counts::delete_oldest(db, id)?;
    }
    db.notify(&Change::Counts(id, project.clone()))?;
    Ok(true)
}

/// Ends the lease of every server to store counts of a connection.
pub(super) fn void(db: &dyn Database, id: ConnectionId) -> Result<(), StoreError> {
    db.change("DELETE FROM counts_leases WHERE connection_id = ?", params![id.0])?;
    Ok(())
}
