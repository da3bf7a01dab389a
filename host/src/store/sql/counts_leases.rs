//! Grants and ends the lease on requesting the counts of a project from a tracker. Only one of the
//! servers that share a database has this lease at a time.
//!
//! An edit of the connection ends the lease, because the edit may have changed the tracker.

use jiff::Timestamp;

use super::counts;
use super::database::{Database, params};
use crate::domain::{ConnectionId, after};
use crate::store::{
    CLOCK_DIFFERENCE_MS_MAX, CachedCounts, Change, CountsClaim, CountsClaimed, CountsLease,
    StoreError,
};

/// Returns stored counts that are fresh enough; otherwise grants the lease, or reports that another
/// caller has it. Ignores counts whose time is in the future, and replaces leases that end later
/// than a new lease could, each with a tolerance of `CLOCK_DIFFERENCE_MS_MAX`: such times show that
/// the clock of the database was set back. If the connection was edited or deleted after
/// `claim.revision`, and there is no valid lease, returns `Count` without granting the lease.
pub(super) fn claim(
    db: &dyn Database,
    lease: &CountsLease,
    claim: &CountsClaim,
) -> Result<CountsClaimed, StoreError> {
    let (id, project) = (lease.connection, &lease.project);
    let fresh_times = claim.fresh_since..=after(claim.now, CLOCK_DIFFERENCE_MS_MAX);
    let fresh =
        counts::get(db, id, project)?.filter(|counts| fresh_times.contains(&counts.counted_at));
    if let Some(fresh) = fresh {
        return Ok(CountsClaimed::Fresh(fresh));
    }
    let granted = db.change(
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
            after(claim.lease_until, CLOCK_DIFFERENCE_MS_MAX).as_millisecond(),
            claim.revision.cast_signed()
        ],
    )?;
    if granted == 0 && is_leased(db, id, project, claim.now)? {
        return Ok(CountsClaimed::Busy);
    }
    Ok(CountsClaimed::Count)
}

fn is_leased(
    db: &dyn Database,
    id: ConnectionId,
    project: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (
                   SELECT 1 FROM counts_leases
                   WHERE connection_id = ? AND project = ? AND lease_until > ?)";
    Ok(db.required_row(sql, params![id.0, project, now.as_millisecond()])?)
}

/// Extends the lease, even if its time has ended. Does nothing if another caller has the lease now,
/// or if the lease was deleted.
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

pub(super) fn end(
    db: &dyn Database,
    lease: &CountsLease,
    counts: Option<CachedCounts>,
) -> Result<bool, StoreError> {
    let (id, project) = (lease.connection, &lease.project);
    let ended = db.change(
        "DELETE FROM counts_leases WHERE connection_id = ? AND project = ? AND holder = ?",
        params![id.0, project, lease.holder],
    )?;
    if ended == 0 {
        return Ok(false);
    }
    if let Some(counts) = counts {
        counts::record(db, id, project, &counts, CLOCK_DIFFERENCE_MS_MAX)?;
        counts::delete_oldest(db, id)?;
    }
    db.notify(&Change::Counts(id, project.clone()))?;
    Ok(true)
}

pub(super) fn end_all(db: &dyn Database, id: ConnectionId) -> Result<(), StoreError> {
    db.change("DELETE FROM counts_leases WHERE connection_id = ?", params![id.0])?;
    Ok(())
}
