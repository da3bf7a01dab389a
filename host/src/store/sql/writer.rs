//! The thread that writes: it takes the queued operations as one batch, commits them together, and
//! answers the callers afterwards.
//!
//! Never answers before the commit. A failed operation does not affect the others of its batch. A
//! failed commit does not end the thread: the callers get the error, and the next batch tries
//! again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::database::Database;
use super::history::Record;
use super::queue::{Batch, Queue};
use crate::store::{DatabaseError, QueueLengths, StoreError};

/// Says whether an operation survives a power cut after its caller was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Durability {
    /// A power cut may lose the change; a crash of the process does not.
    Lazy,
    /// The change is on the disk before its caller is answered.
    Durable,
}

/// A queued operation, and its caller.
pub(in crate::store) trait Operation: Send {
    /// Runs in the batch's transaction; returns whether it succeeded. The changes of a failed
    /// operation are undone.
    fn run(&mut self, db: &dyn Database) -> bool;
    /// Passes the result to the caller, after the batch's commit.
    fn answer(self: Box<Self>, committed: Result<(), DatabaseError>);
}

/// The writing thread's connection to a database.
pub(in crate::store) trait WriteLink: Send {
    /// Commits the history, then the operations, of a batch; an engine may use one transaction for
    /// both. If it fails, the history that it left in the batch is written later. The changes of a
    /// failed operation are undone alone. After an error, nothing of the batch may be answered as
    /// stored.
    fn commit(&mut self, batch: &mut Batch) -> Result<(), DatabaseError>;
    /// Forgets the connection after a panic; the next batch connects again.
    fn forget(&mut self);
    /// Is called after the callers of a batch were answered.
    fn answered(&mut self) {}
    /// Is called once if nothing is queued for a while.
    fn idle(&mut self) {}
    /// Closes the connection.
    fn close(self: Box<Self>);
}

/// Passes operations to the writing thread.
pub(super) struct Writer {
    queue: Arc<Queue>,
    commits: Arc<AtomicU64>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Writer {
    /// Starts the thread with its connection.
    pub(super) fn start(link: Box<dyn WriteLink>) -> Result<Self, StoreError> {
        let (queue, commits) = (Arc::new(Queue::default()), Arc::new(AtomicU64::new(0)));
        let writing =
            Writing { link, commits: Arc::clone(&commits), runtime: Handle::try_current().ok() };
        let (end, ended) = oneshot::channel();
        let jobs = Arc::clone(&queue);
        let thread = thread::Builder::new().name("store-writer".to_owned()).spawn(move || {
            writing.run(&jobs);
            let _ = end.send(());
        });
        thread.map_err(|error| DatabaseError::new("the store cannot start", error, None))?;
        Ok(Self { queue, commits, ended: Mutex::new(Some(ended)) })
    }

    /// Runs an operation in the writing thread and returns its value after the commit.
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
        let call = Call { operation: Some(operation), result: None, caller };
        self.queue.push(Box::new(call), durability)?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Queues a part of the history. Drops it if too much is queued.
    pub(super) fn record(&self, record: Record) {
        self.queue.record(record);
    }

    /// Returns when everything that was queued before the call is committed, also the history.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        self.queue.flush_history();
        self.run(Durability::Lazy, |_| Ok(())).await
    }

    /// Writes the queued history with the next batch. Called before a write is sent, so that its
    /// event is stored.
    pub(super) fn flush_history(&self) {
        self.queue.flush_history();
    }

    /// Returns how many operations, and how many parts of the history, are not written yet.
    pub(super) fn lengths(&self) -> QueueLengths {
        self.queue.lengths()
    }

    /// Returns the number of commits since the start.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Writes the queued changes, then ends the thread.
    pub(super) async fn close(&self) {
        self.queue.close();
        let ended = self.ended.lock().take();
        if let Some(ended) = ended
            && ended.await.is_err()
        {
            tracing::error!("the store's writing thread failed");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Returns the error of an operation that panicked.
pub(super) fn lost() -> StoreError {
    StoreError::Unusable("the server failed while it used its database; see its log".to_owned())
}

pub(super) fn closed() -> StoreError {
    StoreError::Unusable("the store is closed: the server is shutting down".to_owned())
}

struct Call<T, F> {
    operation: Option<F>,
    result: Option<Result<T, StoreError>>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Operation for Call<T, F>
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
            (None, Ok(())) => Err(closed()),
        };
        // If the caller no longer waits, its answer is dropped; the change is still committed.
        let _ = self.caller.send(answer);
    }
}

/// The state of the writing thread.
struct Writing {
    link: Box<dyn WriteLink>,
    commits: Arc<AtomicU64>,
    /// The runtime of the callers; `None` if the store was opened outside one.
    runtime: Option<Handle>,
}

impl Writing {
    fn run(mut self, queue: &Queue) {
        while let Some(batch) = queue.next(|| self.link.idle()) {
            // A panic is a bug, but the store must go on: the callers of the batch get an error.
            let written = catch_unwind(AssertUnwindSafe(|| self.write(batch, queue)));
            if written.is_err() {
                queue.end_batch(false, Vec::new());
                self.link.forget();
            }
            self.link.answered();
        }
        self.link.close();
    }

    /// Commits a batch, then answers the callers of its operations.
    fn write(&mut self, mut batch: Batch, queue: &Queue) {
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

    /// Answers the callers. Several are answered in a task: to wake each of them from this thread
    /// would cost a thread switch each.
    fn answer(&self, operations: Vec<Box<dyn Operation>>, committed: Result<(), DatabaseError>) {
        let several = operations.len() > 1;
        let answer = move || {
            for operation in operations {
                operation.answer(committed.clone());
            }
        };
        match &self.runtime {
            Some(runtime) if several => drop(runtime.spawn(async move { answer() })),
            _ => answer(),
        }
    }
}
