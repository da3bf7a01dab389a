//! The queue of the writing thread: operations, whose callers wait for the commit, and the history,
//! for which no caller waits.
//!
//! An operation wakes the writing thread. A part of the history does not: it goes with the next
//! batch that asks for it, or after [`HISTORY_WAIT`]. Never holds its lock while something is
//! written.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::history::{History, Record};
use super::writer::{Durability, Operation, closed};
use crate::domain::Backoff;
use crate::store::{QueueLengths, StoreError};

/// Maximum number of queued operations. Each has a waiting caller, so few more than the events in
/// progress are queued.
const OPERATIONS_MAX: usize = 4_096;
/// Maximum number of operations that share one commit.
const BATCH_MAX: usize = 512;
/// Maximum time that the history waits in the queue.
const HISTORY_WAIT: Duration = Duration::from_millis(20);
/// Number of queued parts of the history at which they are written at once.
const HISTORY_ENOUGH: usize = 512;
/// The pause before a history that could not be written is tried again. It doubles, up to the
/// maximum.
pub(super) const UNWRITTEN_PAUSE: Duration = Duration::from_millis(100);
const UNWRITTEN_PAUSE_MAX: Duration = Duration::from_secs(5);
/// The time for which the queue must be empty before the write-ahead log is copied back.
const IDLE: Duration = Duration::from_millis(50);

/// One batch: the operations that the writing thread commits in one transaction.
pub(in crate::store) struct Batch {
    pub(in crate::store) operations: Vec<Box<dyn Operation>>,
    pub(in crate::store) history: Vec<Record>,
    pub(in crate::store) durability: Durability,
}

/// The queue of the writing thread.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    warned_of_drops: AtomicBool,
}

struct State {
    operations: VecDeque<(Box<dyn Operation>, Durability)>,
    history: History,
    /// Whether the next batch writes the history, even if it is not due.
    flush: bool,
    closed: bool,
    /// The pauses before a history that could not be written is tried again.
    unwritten: Backoff,
    /// How many operations, and how many parts of the history, are being written.
    in_flight: (usize, usize),
}

impl Default for State {
    fn default() -> Self {
        let (operations, history, flush, closed, in_flight) = Default::default();
        let unwritten = Backoff::new(UNWRITTEN_PAUSE, UNWRITTEN_PAUSE_MAX);
        Self { operations, history, flush, closed, unwritten, in_flight }
    }
}

impl State {
    /// When to write the history by itself; `None` if there is none.
    fn due(&self) -> Option<Instant> {
        let due = self.history.due(HISTORY_WAIT, HISTORY_ENOUGH, self.closed)?;
        let not_before = self.unwritten.until().filter(|_| !self.closed);
        Some(not_before.map_or(due, |until| due.max(until)))
    }
}

impl Queue {
    /// Queues an operation, and wakes the writing thread.
    pub(super) fn push(
        &self,
        operation: Box<dyn Operation>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(closed());
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

    /// Queues a part of the history. Drops it if too many parts are queued.
    pub(super) fn record(&self, record: Record) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if !state.history.add(record, Instant::now()) {
            drop(state);
            self.warn_of_drops();
            return;
        }
        // The first record makes the writing thread wait for more. Enough records end that wait.
        if matches!(state.history.len(), 1 | HISTORY_ENOUGH) {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Ends the batch that the writing thread took last. If it was not committed, queues its
    /// history again, before what was queued since; it then waits for longer each time.
    pub(super) fn end_batch(&self, committed: bool, unwritten: Vec<Record>) {
        let mut state = self.state.lock();
        state.in_flight = (0, 0);
        if committed {
            state.unwritten.succeed();
        }
        if unwritten.is_empty() || state.closed {
            return;
        }
        let now = Instant::now();
        let since = state.history.take(now);
        let mut fits = true;
        for record in unwritten.into_iter().chain(since) {
            fits &= state.history.add(record, now);
        }
        state.unwritten.fail(now);
        drop(state);
        if !fits {
            self.warn_of_drops();
        }
    }

    fn warn_of_drops(&self) {
        if !self.warned_of_drops.swap(true, Ordering::Relaxed) {
            tracing::warn!("the store's queue is full: events are dropped from the history");
        }
    }

    /// Returns how many operations, and how many parts of the history, are not written yet: those
    /// in the queue, and those of the batch that the writing thread has.
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
    pub(super) fn flush_history(&self) {
        let mut state = self.state.lock();
        state.flush = !state.history.is_empty();
    }

    /// Refuses further operations; those in the queue are still written.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.history.end_waits(Instant::now());
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for the next batch; `None` once the queue is closed and empty. Calls `idle` once if
    /// nothing is queued for a while.
    pub(super) fn next(&self, idle: impl FnOnce()) -> Option<Batch> {
        let mut idle = Some(idle);
        let mut state = self.state.lock();
        loop {
            let due = state.due();
            let is_due = due.is_some_and(|due| due <= Instant::now());
            if !state.operations.is_empty() || is_due {
                break;
            }
            if state.closed {
                return None;
            }
            if let Some(due) = due {
                self.changed.wait_until(&mut state, due);
            } else if idle.is_none() {
                self.changed.wait(&mut state);
            } else if self.changed.wait_for(&mut state, IDLE).timed_out()
                && let Some(idle) = idle.take()
            {
                drop(state);
                idle();
                state = self.state.lock();
            }
        }
        drop(state);
        Some(self.collect_batch())
    }

    /// Lets other threads run, so that they can add operations to the batch. Returns as soon as a
    /// yield adds none, so a lone operation is not delayed.
    fn collect_batch(&self) -> Batch {
        let mut before = 0;
        loop {
            thread::yield_now();
            let mut state = self.state.lock();
            let waiting = state.operations.len();
            if waiting > before && waiting < BATCH_MAX {
                before = waiting;
                continue;
            }
            let is_due = state.due().is_some_and(|due| due <= Instant::now());
            let with_history = mem::take(&mut state.flush) || is_due;
            let history =
                if with_history { state.history.take(Instant::now()) } else { Vec::new() };
            let taken = waiting.min(BATCH_MAX);
            let taken: Vec<_> = state.operations.drain(..taken).collect();
            state.in_flight = (taken.len(), history.len());
            drop(state);
            let durable = taken.iter().any(|(_, durability)| *durability == Durability::Durable);
            let durability = if durable { Durability::Durable } else { Durability::Lazy };
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

    struct Nothing;

    impl Operation for Nothing {
        fn run(&mut self, _: &dyn Database) -> bool {
            true
        }

        fn answer(self: Box<Self>, _: Result<(), DatabaseError>) {}
    }

    fn lengths(queue: &Queue) -> (u64, u64) {
        let QueueLengths { operations, history } = queue.lengths();
        (operations, history)
    }

    #[test]
    fn a_batch_that_is_being_written_still_waits() {
        let queue = Queue::default();
        for _ in 0..2 {
            queue.push(Box::new(Nothing), Durability::Lazy).unwrap();
        }
        assert_eq!(lengths(&queue), (2, 0));
        let batch = queue.next(|| {}).unwrap();
        assert_eq!((batch.operations.len(), lengths(&queue)), (2, (2, 0)));
        queue.push(Box::new(Nothing), Durability::Lazy).unwrap();
        assert_eq!(lengths(&queue), (3, 0));
        queue.end_batch(true, Vec::new());
        assert_eq!(lengths(&queue), (1, 0));
    }
}
