//! The thread that writes to the database. It takes many queued operations as one batch, commits
//! them together, and then answers the callers.
//!
//! Never answers before the commit. A failed operation does not affect the other operations of its
//! batch. A failed commit does not end the thread: the callers of the batch receive the error, and
//! the thread continues with the next batch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::database::Database;
use super::queue::{Batch, WriteQueue};
use super::unwritten_history::HistoryRecord;
use crate::store::{DatabaseError, QueueLengths, StoreError};

/// Whether the changes of an operation must survive a power cut after its caller was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Durability {
    /// A power cut or a crash of PostgreSQL may lose the changes; a crash of this process does not.
    Lazy,
    /// The changes are on the disk before the caller is answered.
    Durable,
}

/// A queued operation whose caller waits for the result.
pub(in crate::store) trait Operation: Send {
    /// Runs in the batch's transaction; returns whether it succeeded. The changes of a failed
    /// operation are undone.
    fn run(&mut self, db: &dyn Database) -> bool;
    /// Sends the result to the caller after the batch was committed or has failed.
    fn answer(self: Box<Self>, committed: Result<(), DatabaseError>);
}

/// The writing thread's connection to a database.
pub(in crate::store) trait WriteLink: Send {
    /// Commits the history of a batch, and then its operations; an engine may use one transaction
    /// for both. If an operation fails, undoes only the changes of this operation. After an error,
    /// no operation of the batch may be answered as stored, and the history that is still in the
    /// batch is written later.
    fn commit(&mut self, batch: &mut Batch) -> Result<(), DatabaseError>;
    /// Drops the connection after a panic. The next batch connects again.
    fn disconnect(&mut self);
    /// The writing thread calls this after each batch.
    fn on_answered(&mut self) {}
    /// The writing thread calls this once if nothing is queued for some time.
    fn on_idle(&mut self) {}
    fn close(self: Box<Self>);
}

pub(super) struct Writer {
    queue: Arc<WriteQueue>,
    /// The number of batches since the start that ended without an error of the database.
    commits: Arc<AtomicU64>,
    /// Receives a message when the writing thread has ended.
    thread_end: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Writer {
    pub(super) fn start(link: Box<dyn WriteLink>) -> Result<Self, StoreError> {
        let (queue, commits) = (Arc::new(WriteQueue::default()), Arc::new(AtomicU64::new(0)));
        let writer_thread = WriterThread {
            link,
            commits: Arc::clone(&commits),
            runtime: Handle::try_current().ok(),
        };
        let (end, ended) = oneshot::channel();
        let thread_queue = Arc::clone(&queue);
        let thread = thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            writer_thread.run(&thread_queue);
            let _ = end.send(());
        });
        thread.map_err(|error| DatabaseError::new("the store cannot start", error, None))?;
        Ok(Self { queue, commits, thread_end: Mutex::new(Some(ended)) })
    }

    /// Runs an operation in the writing thread. Returns the operation's value after the commit.
    pub(super) async fn run<T, F>(
        &self,
        durability: Durability,
        operation: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Database) -> Result<T, StoreError> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let pending = PendingOperation { operation: Some(operation), result: None, caller };
        self.queue.push(Box::new(pending), durability)?;
        answer.await.unwrap_or_else(|_| Err(panicked_error()))
    }

    /// Queues a record of the history. Drops the record if the queue is closed or has no room for
    /// it.
    pub(super) fn record(&self, record: HistoryRecord) {
        self.queue.record(record);
    }

    /// Writes the queued history, and waits until it is written. Runs and steps that wait for their
    /// event stay in the queue.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        self.queue.write_history_with_next_batch();
        self.run(Durability::Lazy, |_| Ok(())).await
    }

    /// Makes the next batch write the queued history.
    pub(super) fn write_history_with_next_batch(&self) {
        self.queue.write_history_with_next_batch();
    }

    pub(super) fn lengths(&self) -> QueueLengths {
        self.queue.lengths()
    }

    /// Returns the number of batches since the start that ended without an error of the database.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(super) async fn close(&self) {
        self.queue.close();
        let ended = self.thread_end.lock().take();
        if let Some(ended) = ended
            && ended.await.is_err()
        {
            tracing::error!(
                "the writing thread of the store has failed: the last changes may be lost"
            );
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Returns the error of a read or an operation that panicked, or of an operation that shared a
/// batch with one that panicked.
pub(super) fn panicked_error() -> StoreError {
    StoreError::Unusable("the server failed while it used its database; see its log".to_owned())
}

pub(super) fn closed_error() -> StoreError {
    StoreError::Unusable("the store is closed: the server is shutting down".to_owned())
}

struct PendingOperation<T, F> {
    /// `None` after the operation has run.
    operation: Option<F>,
    /// `None` until the operation has run.
    result: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Operation for PendingOperation<T, F>
where
    T: Send,
    F: FnOnce(&dyn Database) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, db: &dyn Database) -> bool {
        let Some(operation) = self.operation.take() else { return false };
        let result = self.result.insert(operation(db));
        result.is_ok()
    }

    fn answer(self: Box<Self>, committed: Result<(), DatabaseError>) {
        let answer = match (self.result, committed) {
            (Some(Ok(value)), Ok(())) => Ok(value),
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(_)) | None, Err(error)) => Err(error.into()),
            (None, Ok(())) => Err(closed_error()),
        };
        // Sending fails if the caller does not wait any more. The change stays committed.
        let _ = self.caller.send(answer);
    }
}

struct WriterThread {
    link: Box<dyn WriteLink>,
    commits: Arc<AtomicU64>,
    /// The async runtime of the callers; `None` if the store was opened outside a runtime.
    runtime: Option<Handle>,
}

impl WriterThread {
    fn run(mut self, queue: &WriteQueue) {
        while let Some(batch) = queue.wait_for_batch(|| self.link.on_idle()) {
            // A panic is a bug, but the store must continue. The callers of the batch receive an
            // error.
            let result = catch_unwind(AssertUnwindSafe(|| self.write(batch, queue)));
            if result.is_err() {
                tracing::error!(
                    "a bug: the writing thread panicked; its operations failed, and events may be missing"
                );
                queue.end_batch(false, Vec::new());
                self.link.disconnect();
            }
            self.link.on_answered();
        }
        self.link.close();
    }

    fn write(&mut self, mut batch: Batch, queue: &WriteQueue) {
        let committed = self.link.commit(&mut batch);
        match &committed {
            Ok(()) => {
                self.commits.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => tracing::debug!(%error, "a batch was not committed"),
        }
        queue.end_batch(committed.is_ok(), batch.history);
        self.answer(batch.operations, committed);
    }

    /// Answers the callers. If there are several callers, answers them in a task of the runtime:
    /// each caller that this thread wakes costs a thread switch.
    fn answer(&self, operations: Vec<Box<dyn Operation>>, committed: Result<(), DatabaseError>) {
        let has_several = operations.len() > 1;
        let answer_all = move || {
            for operation in operations {
                operation.answer(committed.clone());
            }
        };
        match &self.runtime {
            Some(runtime) if has_several => drop(runtime.spawn(async move { answer_all() })),
            _ => answer_all(),
        }
    }
}
