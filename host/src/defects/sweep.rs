//! The sweep: searches in the background for defects in doubt, and for second records of created
//! defects.
//!
//! The sweep only calls the connector's `find`, so it never creates a defect.

use std::time::Instant;

use futures_util::StreamExt;
use tracing::Instrument as _;

use crate::connections::RunRequester;
use crate::domain::{
    DoubtAction, DoubtfulDefect, Event, EventId, EventKind, EventStart, Outcome, ReceivedRequest,
    Refusal, RowEnd, SearchEnd, TimedStepKind, UnresolvableReason, WriteClass, after, milliseconds,
};
use crate::store::{DueDefect, DueLimits};

use super::lease::LeasedDefect;
use super::search::SearchResult;
use super::{Defects, adoption_outcome, second_record_outcome};

/// Maximum number of rows in one round: in total, and of one connection.
const ROUND_LIMITS: DueLimits = DueLimits { total: 16, per_connection: 4 };
/// The number of searches for a second record. Fewer searches are enough if one of them finds the
/// known record, because this shows that the search works. A failed search is repeated in any case.
const SECOND_SEARCHES_MAX: u32 = 8;
/// Maximum number of searches that run at the same time.
const CONCURRENT_SEARCHES_MAX: usize = 4;

impl Defects {
    /// Runs the searches that are due now, for a limited number of defects.
    pub async fn sweep(&self) {
        let deps = &self.deps;
        if let Err(error) = deps.restart_waits_if_clock_stepped().await {
            tracing::warn!(%error, "cannot restart the waits of defects after a clock change");
            return;
        }
        let (now, longest_run_ms) = (deps.clock.now(), deps.config.current().longest_run_ms());
        let rows_in_work = deps.process_state.rows_in_work();
        match deps.store.due_searches(now, longest_run_ms, rows_in_work, ROUND_LIMITS).await {
            Ok(due) => {
                futures_util::stream::iter(due)
                    .for_each_concurrent(CONCURRENT_SEARCHES_MAX, |due| self.search_for(due))
                    .await;
            }
            Err(error) => tracing::warn!(%error, "cannot read the defects in doubt"),
        }
    }

    async fn search_for(&self, DueDefect { id, connection }: DueDefect) {
        let Some(active) = self.deps.connections.active(connection) else { return };
        let now = self.deps.clock.now();
        let until = after(now, self.deps.config.current().lease_ms);
        let event = EventStart { id: EventId::fresh(), received_at: now, arrived: Instant::now() };
        let claimed = self.deps.store.claim_search(id, now, until).await;
        let doubtful = match claimed {
            Ok(Some(doubtful)) => doubtful,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(defect = %id, %error, "cannot claim a defect in doubt");
                return;
            }
        };
        let claim = event.timed_step(TimedStepKind::Claim, event.arrived, Instant::now());
        // Rows of paused and unavailable connections are claimed too, so that their back-off grows
        // and later rows are searched for.
        let (deps, lease) = (&self.deps, doubtful.lease.clone());
        let Some(connector) = self.connector_or_give_back(&active, &lease).await else { return };
        let leased =
            LeasedDefect::new(deps, active, &connector, lease, event, RunRequester::Background);
        let work = async {
            match &doubtful.created {
                Some(key) => search_second_record(&leased, &doubtful, key).await,
                None => search_in_doubt(&leased, &doubtful).await,
            }
        };
        let outcome = work.instrument(deps.history.span(event.id)).await;
        let Some(outcome) = outcome else { return deps.history.discard(event) };
        deps.history.record_timed_steps(event, claim.into());
        deps.history.record_end(Event {
            id: event.id,
            connection: Some(connection),
            kind: EventKind::Sweep,
            received_at: event.received_at,
            ms: milliseconds(event.arrived.elapsed()),
            status: None,
            outcome,
            request: ReceivedRequest::default(),
            defect: Some(id),
        });
    }
}

/// Searches for a defect in doubt. Returns the outcome for the event, or `None` if there is nothing
/// to report.
async fn search_in_doubt(leased: &LeasedDefect<'_>, doubtful: &DoubtfulDefect) -> Option<Outcome> {
    let (next, refusal) = match leased.search(doubtful).await {
        SearchResult::Found(oldest, others) => {
            let adopted = adoption_outcome(&oldest.key, &others);
            return Some(match leased.store_outcome(&RowEnd::Found(oldest)).await {
                Ok(()) => adopted,
                Err(error) => Outcome::from(&Refusal::StoreUnavailable(error.to_string())),
            });
        }
        SearchResult::NotFound(next, refusal) => (next, refusal),
    };
    let is_unclear = doubtful.doubt.class == WriteClass::Unclear;
    match next {
        DoubtAction::Create => leased.end_search(SearchEnd::DoubtEnded).await,
        DoubtAction::SearchAt(at) if is_unclear => {
            leased.end_search(SearchEnd::SearchAt(Some(at))).await;
        }
        DoubtAction::SearchAt(at) => leased.end_search(SearchEnd::SearchBy(at)).await,
        DoubtAction::TryLater => leased.give_back().await,
        // After a search that failed permanently, the sweep searches again, unless the write's
        // class is `Unclear`.
        DoubtAction::NeedsPerson(why @ UnresolvableReason::SearchFailed(_)) if !is_unclear => {
            leased.end_search(SearchEnd::Failed(why.to_string())).await;
        }
        DoubtAction::NeedsPerson(why) => {
            leased.end_search(SearchEnd::NeedsPerson(why.to_string())).await;
        }
    }
    refusal.map(|refusal| Outcome::from(&refusal))
}

/// Searches for a second record of a created defect, because an earlier write in doubt may have
/// created a record after all. Reports a second record; a person decides which record stays.
async fn search_second_record(
    leased: &LeasedDefect<'_>,
    doubtful: &DoubtfulDefect,
    key: &str,
) -> Option<Outcome> {
    let active = leased.with_snapshot(doubtful.snapshot.as_ref());
    let found = match leased.run_find(&active, &doubtful.marker).await {
        Ok(found) => found,
        Err(refusal) => {
            leased.give_back().await;
            return Some(Outcome::from(&refusal));
        }
    };
    let is_indexed = found.iter().any(|defect| defect.key == key);
    if !is_indexed && doubtful.searches < SECOND_SEARCHES_MAX {
        leased.give_back().await;
    } else {
        leased.end_search(SearchEnd::SearchAt(None)).await;
    }
    let others = found.into_iter().map(|defect| defect.key).filter(|other| other != key);
    let others: Vec<_> = others.collect();
    (!others.is_empty()).then(|| second_record_outcome(key, &others))
}
