//! Claims of a failed test: which run may create its defect, and which may only search for it.
//!
//! A claim is one transaction. Of several claims at a time, one gets the lease.

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::columns::known_word;
use super::defect_records::{Row, newest};
use super::doubts::{self, SEARCH_WAIT_MS};
use crate::domain::{
    Claimed, ConnectionId, Defect, DefectId, DefectState, FailedTest, Lease, Marker,
    StringEnum as _,
};
use crate::store::{Claim, StoreError};

/// The reason of a doubt about a failed test without a row.
pub(super) const RESTORED: &str =
    "the database was restored, or fell behind, and may have lost this defect";

/// The created and unreleased defect of a failed test.
pub(super) async fn created_defect(
    pool: &SqlitePool,
    connection: ConnectionId,
    test: &FailedTest,
) -> Result<Option<(DefectId, Defect)>, StoreError> {
    let Some(row) = newest(pool, connection, test).await? else { return Ok(None) };
    if row.released || row.state != DefectState::Created.as_str() {
        return Ok(None);
    }
    Ok(Some(row.created()?))
}

/// Claims a failed test. In a database that fell behind (`restored_at`), a failed test without a row may have
/// a defect: it counts as in doubt since then.
pub(super) async fn claim(
    db: &mut SqliteConnection,
    claim: Claim<'_>,
    restored_at: Option<Timestamp>,
) -> Result<Claimed, StoreError> {
    let deleted: Option<bool> = sqlx::query_scalar("SELECT deleted FROM connections WHERE id = ?")
        .bind(claim.connection.to_string())
        .fetch_optional(&mut *db)
        .await?;
    if deleted != Some(false) {
        return Err(StoreError::NotFound("connection"));
    }
    let Some(row) = newest(&mut *db, claim.connection, claim.test).await? else {
        return match restored_at {
            None => insert_intent(db, claim, 1).await,
            Some(since) => insert_in_doubt(db, claim, 1, since).await,
        };
    };
    if row.released {
        let generation = row.generation.saturating_add(1);
        let outdated = restored_at.filter(|at| row.updated_at < at.as_millisecond());
        return match outdated {
            None => insert_intent(db, claim, generation).await,
            Some(since) => insert_in_doubt(db, claim, generation, since).await,
        };
    }
    let state = known_word::<DefectState>(&row.state, "its state")?;
    if state == DefectState::Created {
        let (id, defect) = row.created()?;
        return Ok(Claimed::Created { id, defect });
    }
    if row.lease_until.is_some_and(|until| until > claim.now.as_millisecond()) {
        return Ok(Claimed::Busy { fence: row.fence });
    }
    if let Some(ended) = row.ended(claim.waited_for)? {
        return Ok(ended);
    }
    if row.writes == 0 {
        lease_for_create(db, &row, &claim).await
    } else {
        lease_for_search(db, &row, &claim).await
    }
}

/// The first claim of a generation inserts the row in `intent`.
async fn insert_intent(
    db: &mut SqliteConnection,
    claim: Claim<'_>,
    generation: u32,
) -> Result<Claimed, StoreError> {
    let lease = insert(db, &claim, generation).await?;
    let marker = Marker::derive(claim.connection, claim.test, generation);
    Ok(Claimed::Create { lease, marker, generation })
}

/// A row as if a write had left at `since` and had no answer.
async fn insert_in_doubt(
    db: &mut SqliteConnection,
    claim: Claim<'_>,
    generation: u32,
    since: Timestamp,
) -> Result<Claimed, StoreError> {
    let lease = insert(db, &claim, generation).await?;
    let row: Row = sqlx::query_as(
        "UPDATE defects SET state = 'in-doubt', class = 'open', writes = 1, wait_from = ?2,
             next_search_at = ?3, reason = ?4
         WHERE id = ?1 RETURNING *",
    )
    .bind(lease.defect.to_string())
    .bind(since.as_millisecond())
    .bind(claim.now.as_millisecond().saturating_add(SEARCH_WAIT_MS))
    .bind(RESTORED)
    .fetch_one(db)
    .await?;
    Ok(Claimed::Search(Box::new(row.doubtful(lease)?)))
}

async fn insert(
    db: &mut SqliteConnection,
    claim: &Claim<'_>,
    generation: u32,
) -> Result<Lease, StoreError> {
    let id = DefectId(Uuid::now_v7());
    let marker = Marker::derive(claim.connection, claim.test, generation);
    let (execution, case, variation) = claim.test.key();
    let inserted = sqlx::query(
        "INSERT INTO defects (id, connection_id, test_execution_id, test_case_id, variation_id,
             generation, test_link, marker, state, fence, lease_until, runner, event_id,
             created_at, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'intent', 1, ?, ?, ?, ?, ?)",
    )
    .bind(id.to_string())
    .bind(claim.connection.to_string())
    .bind(execution)
    .bind(case)
    .bind(variation)
    .bind(generation)
    .bind(claim.test.link.as_deref())
    .bind(marker.as_str())
    .bind(claim.lease_until.as_millisecond())
    .bind(claim.holder.0.to_string())
    .bind(claim.event.to_string())
    .bind(claim.now.as_millisecond())
    .bind(claim.now.as_millisecond())
    .execute(db)
    .await;
    match inserted {
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            Err(StoreError::NotFound("connection"))
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(Lease { defect: id, fence: 1, until: claim.lease_until }),
    }
}

/// Takes over a row of which no write left: `failed`, or `intent` whose lease ended.
async fn lease_for_create(
    db: &mut SqliteConnection,
    row: &Row,
    claim: &Claim<'_>,
) -> Result<Claimed, StoreError> {
    sqlx::query(
        "UPDATE defects SET state = 'intent', fence = fence + 1, lease_until = ?2, runner = ?3,
             event_id = ?4, test_link = ?5, reason = NULL, updated_at = ?6
         WHERE id = ?1",
    )
    .bind(&row.id)
    .bind(claim.lease_until.as_millisecond())
    .bind(claim.holder.0.to_string())
    .bind(claim.event.to_string())
    .bind(claim.test.link.as_deref())
    .bind(claim.now.as_millisecond())
    .execute(db)
    .await?;
    Ok(Claimed::Create {
        lease: row.next_lease(claim.lease_until)?,
        marker: Marker::derive(claim.connection, claim.test, row.generation),
        generation: row.generation,
    })
}

/// Takes over a row of which a write left. A run that did not store an outcome leaves a write without an
/// answer.
async fn lease_for_search(
    db: &mut SqliteConnection,
    row: &Row,
    claim: &Claim<'_>,
) -> Result<Claimed, StoreError> {
    if row.state == DefectState::Sent.as_str() {
        doubts::doubt_lost_run(&mut *db, &row.id, claim.now, claim.run_ms).await?;
    }
    let row: Row = sqlx::query_as(
        "UPDATE defects SET fence = fence + 1, lease_until = ?2, runner = ?3, event_id = ?4,
             state = CASE WHEN state = 'failed' OR class = 'refused' THEN 'failed'
                 ELSE 'in-doubt' END,
             next_search_at = CASE WHEN state = 'failed' OR class = 'refused' THEN next_search_at
                 ELSE COALESCE(next_search_at, ?5) END,
             updated_at = ?5
         WHERE id = ?1 RETURNING *",
    )
    .bind(&row.id)
    .bind(claim.lease_until.as_millisecond())
    .bind(claim.holder.0.to_string())
    .bind(claim.event.to_string())
    .bind(claim.now.as_millisecond())
    .fetch_one(db)
    .await?;
    let lease = Lease { defect: row.id()?, fence: row.fence, until: claim.lease_until };
    Ok(Claimed::Search(Box::new(row.doubtful(lease)?)))
}
