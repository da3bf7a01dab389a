//! Claims of a failed test: which run may create its defect, and which may only search for it.
//!
//! A claim is one transaction. Of several claims at a time, one gets the lease.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::columns::{known_word, signed, time};
use super::defect_records::{Row, newest};
use super::doubts::RUN_LOST;
use crate::domain::{
    Claimed, ConnectionId, Defect, DefectId, DefectState, FailedTest, Lease, Marker, Words as _,
};
use crate::store::{Claim, StoreError};

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

/// Claims a failed test.
pub(super) async fn claim(
    db: &mut SqliteConnection,
    claim: Claim<'_>,
) -> Result<Claimed, StoreError> {
    let Some(row) = newest(&mut *db, claim.connection, claim.test).await? else {
        return insert_intent(db, claim, 1).await;
    };
    if row.released {
        return insert_intent(db, claim, row.generation.saturating_add(1)).await;
    }
    let state = known_word::<DefectState>(&row.state, "its state")?;
    if state == DefectState::Created {
        let (id, defect) = row.created()?;
        return Ok(Claimed::Created { id, defect });
    }
    if row.lease_until.is_some_and(|until| until > claim.now.as_millisecond()) {
        return Ok(Claimed::Busy);
    }
    match state {
        DefectState::Sent | DefectState::InDoubt => lease_for_search(db, &row, &claim).await,
        _ => lease_for_create(db, &row, &claim).await,
    }
}

/// The first claim of a generation inserts the row in `intent`.
async fn insert_intent(
    db: &mut SqliteConnection,
    claim: Claim<'_>,
    generation: u32,
) -> Result<Claimed, StoreError> {
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
    .bind(claim.runner.0.to_string())
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
        Ok(_) => {
            let lease = Lease { defect: id, fence: 1, until: claim.lease_until };
            Ok(Claimed::Create { lease, marker, generation })
        }
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
             event_id = ?4, test_link = ?5, reason = NULL, writes = 0, sent_at = NULL,
             write_ended_at = NULL, updated_at = ?6
         WHERE id = ?1",
    )
    .bind(&row.id)
    .bind(claim.lease_until.as_millisecond())
    .bind(claim.runner.0.to_string())
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

/// Takes over a row of which a write may have left: `in-doubt`, or `sent` whose lease ended.
async fn lease_for_search(
    db: &mut SqliteConnection,
    row: &Row,
    claim: &Claim<'_>,
) -> Result<Claimed, StoreError> {
    let ended = match row.state.as_str() {
        "sent" => row.sent_at.map(|at| at.saturating_add(signed(claim.run_ms))),
        _ => row.write_ended_at,
    };
    let ended = ended.unwrap_or(row.updated_at);
    sqlx::query(
        "UPDATE defects SET state = 'in-doubt', fence = fence + 1, lease_until = ?2, runner = ?3,
             event_id = ?4, write_ended_at = ?5, reason = COALESCE(reason, ?6),
             next_search_at = COALESCE(next_search_at, ?7), updated_at = ?7
         WHERE id = ?1",
    )
    .bind(&row.id)
    .bind(claim.lease_until.as_millisecond())
    .bind(claim.runner.0.to_string())
    .bind(claim.event.to_string())
    .bind(ended)
    .bind(RUN_LOST)
    .bind(claim.now.as_millisecond())
    .execute(db)
    .await?;
    Ok(Claimed::Find {
        lease: row.next_lease(claim.lease_until)?,
        marker: Marker::derive(claim.connection, claim.test, row.generation),
        write_ended_at: time(ended)?,
        retry: row.retry,
    })
}
