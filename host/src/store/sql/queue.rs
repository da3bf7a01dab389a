//! The queue of the writing thread. It contains operations, whose callers wait for the commit, and
//! records of the history (events with their runs, and counts), for which no caller waits.
//!
//! Operations are written at once. The records of the history are written when the oldest has
//! waited for [`HISTORY_WAIT`]. They are written earlier if many are queued or if a caller requests
//! it, and later after a failed attempt. The queue is never locked while the thread writes.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::unwritten_history::{HistoryRecord, UnwrittenHistory};
use super::writer::{Durability, Operation, closed_error};
use crate::domain::Backoff;
use crate::store::{QueueLengths, StoreError};

/// Maximum number of queued operations.
const OPERATIONS_MAX: usize = 4_096;
/// Maximum number of operations that share one commit.
const BATCH_OPERATIONS_MAX: usize = 512;
/// How long the oldest record of the history waits for further records before all are written.
const HISTORY_WAIT: Duration = Duration::from_millis(20);
/// If this many records of the history are queued, they are written without a wait.
const HISTORY_RECORDS_WRITTEN_AT_ONCE: usize = 512;
/// The pause after a batch whose records of the history were not written. The pause doubles after
/// each failure, up to `UNWRITTEN_PAUSE_MAX`.
pub(super) const UNWRITTEN_PAUSE: Duration = Duration::from_millis(100);
const UNWRITTEN_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long the queue must be empty before [`WriteQueue::wait_for_batch`] calls `on_idle`.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// The operations and records of the history that the writing thread writes together.
pub(in crate::store) struct Batch {
    pub(in crate::store) operations: Vec<Box<dyn Operation>>,
    pub(in crate::store) history: Vec<HistoryRecord>,
    /// Durable if at least one of the operations is durable.
    pub(in crate::store) durability: Durability,
}

#[derive(Default)]
pub(super) struct WriteQueue {
    state: Mutex<QueueState>,
    /// Wakes the writing thread.
    changed: Condvar,
    has_warned_of_drops: AtomicBool,
}

struct QueueState {
    operations: VecDeque<(Box<dyn Operation>, Durability)>,
    history: UnwrittenHistory,
    /// Whether the next batch writes the history, even before [`HISTORY_WAIT`] has passed.
    is_history_requested: bool,
    is_closed: bool,
    unwritten_pauses: Backoff,
    /// The number of operations and the number of records of the history in the batch that is being
    /// written.
    in_flight: (usize, usize),
}

impl Default for QueueState {
    fn default() -> Self {
        let (operations, history, is_history_requested, is_closed, in_flight) = Default::default();
        let unwritten_pauses = Backoff::new(UNWRITTEN_PAUSE, UNWRITTEN_PAUSE_MAX);
        Self { operations, history, is_history_requested, is_closed, unwritten_pauses, in_flight }
    }
}

impl QueueState {
    /// Returns when to write the queued history. `None` if there is no history to write.
    fn history_due_at(&self) -> Option<Instant> {
        let due_at = self.history.write_due_at(
            HISTORY_WAIT,
            HISTORY_RECORDS_WRITTEN_AT_ONCE,
            self.is_closed,
        )?;
        let not_before = self.unwritten_pauses.until().filter(|_| !self.is_closed);
        Some(not_before.map_or(due_at, |until| due_at.max(until)))
    }
}

impl WriteQueue {
    pub(super) fn push(
        &self,
        operation: Box<dyn Operation>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(closed_error());
        }
        if state.operations.len() >= OPERATIONS_MAX {
            let why = "too many changes wait to be stored; try again in a moment";
            return Err(StoreError::Unusable(why.to_owned()));
        }
        state.operations.push_back((operation, durability));
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Queues a record of the history. Drops the record if the queue is closed or has no room for
    /// it.
    pub(super) fn record(&self, record: HistoryRecord) {
        let mut state = self.state.lock();
        if state.is_closed {
            return;
        }
        if !state.history.add(record, Instant::now()) {
            drop(state);
            self.warn_of_drops();
            return;
        }
        // Wake the writing thread for the first record. The thread then waits for further records.
        // Wake the thread again when there are enough records, so that this wait ends.
        if matches!(state.history.len(), 1 | HISTORY_RECORDS_WRITTEN_AT_ONCE) {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Ends the batch that the writing thread took last. Puts the records that were not written
    /// back into the queue, before the records that were queued since. The next attempt follows
    /// after a pause that grows with each failure, or when a caller requests it. If the queue is
    /// closed, drops the records.
    pub(super) fn end_batch(&self, is_committed: bool, unwritten: Vec<HistoryRecord>) {
        let mut state = self.state.lock();
        state.in_flight = (0, 0);
        if is_committed {
            state.unwritten_pauses.succeed();
        }
        if unwritten.is_empty() || state.is_closed {
            return;
        }
        let now = Instant::now();
        let queued_since = state.history.take_records(now);
        let mut fits = true;
        for record in unwritten.into_iter().chain(queued_since) {
            fits &= state.history.add(record, now);
        }
        state.unwritten_pauses.fail(now);
        drop(state);
        if !fits {
            self.warn_of_drops();
        }
    }

    fn warn_of_drops(&self) {
        if !self.has_warned_of_drops.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the queue of the store is full: events are missing in the history (logged once)"
            );
        }
    }

    /// Counts what is queued or is being written, but no runs and steps that wait for their event.
    pub(super) fn lengths(&self) -> QueueLengths {
        let state = self.state.lock();
        let count = |queued: usize, in_flight: usize| {
            u64::try_from(queued.saturating_add(in_flight)).unwrap_or(u64::MAX)
        };
        let (operations, history) = state.in_flight;
        QueueLengths {
            operations: count(state.operations.len(), operations),
            history: count(state.history.len(), history),
        }
    }

    /// Makes the next batch write the history that is queued now.
    pub(super) fn write_history_with_next_batch(&self) {
        let mut state = self.state.lock();
        state.is_history_requested = !state.history.is_empty();
    }

    /// Refuses further operations, and drops further records. The thread still writes what is
    /// queued.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.history.end_waits(Instant::now());
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for the next batch. Returns `None` once the queue is closed and empty. Calls `on_idle`
    /// once if nothing is queued for [`IDLE_WAIT`].
    pub(super) fn wait_for_batch(&self, on_idle: impl FnOnce()) -> Option<Batch> {
        let mut on_idle = Some(on_idle);
        let mut state = self.state.lock();
        loop {
            let due_at = state.history_due_at();
            let is_history_due = due_at.is_some_and(|due_at| due_at <= Instant::now());
            if !state.operations.is_empty() || is_history_due {
                break;
            }
            if state.is_closed {
                return None;
            }
            if let Some(due_at) = due_at {
                self.changed.wait_until(&mut state, due_at);
            } else if on_idle.is_none() {
                self.changed.wait(&mut state);
            } else if self.changed.wait_for(&mut state, IDLE_WAIT).timed_out()
                && let Some(on_idle) = on_idle.take()
            {
                drop(state);
                on_idle();
                state = self.state.lock();
            }
        }
        drop(state);
        Some(self.collect_batch())
    }

    /// Takes the next batch from the queue. Before this, lets other threads run, so that they can
    /// queue further operations for the batch. Takes the batch as soon as the other threads add no
    /// operation, so a single operation is hardly delayed.
    fn collect_batch(&self) -> Batch {
        let mut previous_count = 0;
        loop {
            thread::yield_now();
            let mut state = self.state.lock();
            let count = state.operations.len();
            if count > previous_count && count < BATCH_OPERATIONS_MAX {
                previous_count = count;
                continue;
            }
            let is_due = state.history_due_at().is_some_and(|due_at| due_at <= Instant::now());
            let has_history = mem::take(&mut state.is_history_requested) || is_due;
            let history =
                if has_history { state.history.take_records(Instant::now()) } else { Vec::new() };
            let taken_count = count.min(BATCH_OPERATIONS_MAX);
            let taken: Vec<_> = state.operations.drain(..taken_count).collect();
            state.in_flight = (taken.len(), history.len());
            drop(state);
            let is_durable = taken.iter().any(|(_, durability)| *durability == Durability::Durable);
            let durability = if is_durable { Durability::Durable } else { Durability::Lazy };
            let operations = taken.into_iter().map(|(operation, _)| operation).collect();
            return Batch { operations, history, durability };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::database::Database;
    use super::*;
    use crate::store::DatabaseError;

    struct NoOperation;

    impl Operation for NoOperation {
        fn run(&mut self, _: &dyn Database) -> bool {
            true
        }

        fn answer(self: Box<Self>, _: Result<(), DatabaseError>) {}
    }

    fn lengths(queue: &WriteQueue) -> (u64, u64) {
        let QueueLengths { operations, history } = queue.lengths();
        (operations, history)
    }

    #[test]
    fn the_lengths_include_a_batch_that_is_being_written() {
        let queue = WriteQueue::default();
        for _ in 0..2 {
            queue.push(Box::new(NoOperation), Durability::Lazy).unwrap();
        }
        assert_eq!(lengths(&queue), (2, 0));
        let batch = queue.wait_for_batch(|| {}).unwrap();
        assert_eq!((batch.operations.len(), lengths(&queue)), (2, (2, 0)));
        queue.push(Box::new(NoOperation), Durability::Lazy).unwrap();
        assert_eq!(lengths(&queue), (3, 0));
        queue.end_batch(true, Vec::new());
        assert_eq!(lengths(&queue), (1, 0));
    }
}
