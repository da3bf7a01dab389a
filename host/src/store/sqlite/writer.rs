//! The task that writes: it takes the queued operations as one batch, runs them in one
//! transaction, commits once, and answers their callers afterwards.
//!
//! Never answers before the commit. A failed operation does not affect the others of its batch. A
//! failed commit does not end the task: the callers get the error, and the next batch tries again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::errors::describe_error;
use crate::store::{DatabaseError, StoreError};

/// Operations in the queue. If it is full, `run` waits for room and `post` drops its operation.
const QUEUE_MAX: usize = 4096;
/// Operations that share one commit.
const BATCH_MAX: usize = 512;
/// A batch of this size does not wait for more operations.
const GATHER_MAX: usize = 32;

/// Whether an answered operation survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// A power cut may lose it; a crash of the process does not.
    Lazy,
    /// It is on the disk before its caller is answered.
    Durable,
}

/// An operation of the queue: runs in the batch's transaction and reports whether it succeeded.
/// The changes of a failed operation are undone.
type Operation = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, bool> + Send>;

/// An operation with what the task needs to know of it.
struct Job {
    operation: Operation,
    durability: Durability,
    /// Receives the result of the batch's commit.
    committed: oneshot::Sender<Result<(), DatabaseError>>,
}

/// Passes operations to the writing task.
pub(super) struct Writer {
    queue: mpsc::Sender<Job>,
    commits: Arc<AtomicU64>,
    warned_of_drops: AtomicBool,
    closing: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the task with an open connection; `options` opens another one after a failure.
    pub(super) fn start(connection: SqliteConnection, options: SqliteConnectOptions) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let commits = Arc::new(AtomicU64::new(0));
        let closing = CancellationToken::new();
        let task = WriterTask {
            connection: Some(connection),
            options,
            durability: None,
            commits: Arc::clone(&commits),
        };
        let task = tokio::spawn(task.run(jobs, closing.clone()));
        Self {
            queue,
            commits,
            warned_of_drops: AtomicBool::new(false),
            closing,
            task: Mutex::new(Some(task)),
        }
    }

    /// Runs an operation and returns its value after the commit.
    pub(super) async fn run<T, F>(
        &self,
        durability: Durability,
        operation: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let (send_result, mut result) = oneshot::channel();
        let operation: Operation = Box::new(move |db| {
            async move {
                let result = operation(db).await;
                let succeeded = result.is_ok();
                // The caller may have gone; the operation counts all the same.
                let _ = send_result.send(result);
                succeeded
            }
            .boxed()
        });
        let (committed, commit) = oneshot::channel();
        self.queue.send(Job { operation, durability, committed }).await.map_err(|_| closed())?;
        let commit = commit.await.map_err(|_| closed())?;
        match result.try_recv() {
            Ok(Ok(value)) => commit.map(|()| value).map_err(StoreError::from),
            Ok(Err(error)) => Err(error),
            // It did not run, because the batch failed before it.
            Err(_) => Err(commit.map_or_else(StoreError::from, |()| closed())),
        }
    }

    /// Queues an operation without a caller that waits. Drops it if the queue is full.
    pub(super) fn post<F>(&self, operation: F)
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<(), StoreError>>
            + Send
            + 'static,
    {
        let operation: Operation = Box::new(move |db| {
            async move {
                let result = operation(db).await;
                if let Err(error) = &result {
                    tracing::debug!(%error, "a part of the history was not stored");
                }
                result.is_ok()
            }
            .boxed()
        });
        let (committed, _) = oneshot::channel();
        let job = Job { operation, durability: Durability::Lazy, committed };
        if self.queue.try_send(job).is_err() && !self.warned_of_drops.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("the store's queue is full: events are dropped from the history");
        }
    }

    /// The number of commits since the start.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Writes what is queued, then ends the task.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the store's writing task failed");
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unusable("the store is closed: the server is shutting down".to_owned())
}

/// The state of the writing task.
struct WriterTask {
    /// `None` after a failure, until the next batch connects.
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    /// The durability that the connection is set to.
    durability: Option<Durability>,
    commits: Arc<AtomicU64>,
}

impl WriterTask {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>, closing: CancellationToken) {
        let mut open = true;
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                () = closing.cancelled(), if open => {
                    jobs.close();
                    open = false;
                    continue;
                }
                received = jobs.recv_many(&mut batch, BATCH_MAX) => if received == 0 { break },
            }
            gather(&mut jobs, &mut batch).await;
            self.write(batch).await;
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }

    /// Commits a batch, then answers the callers of its operations.
    async fn write(&mut self, batch: Vec<Job>) {
        let durable = batch.iter().any(|job| job.durability == Durability::Durable);
        let durability = if durable { Durability::Durable } else { Durability::Lazy };
        let (operations, callers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|job| (job.operation, job.committed)).unzip();
        let committed = self.commit(operations, durability).await.map_err(describe_error);
        if let Err(error) = &committed {
            tracing::debug!(%error, "a batch was not committed");
            self.roll_back().await;
        }
        for caller in callers {
            // A caller that has gone needs no answer.
            let _ = caller.send(committed.clone());
        }
    }

    /// Runs the operations in one transaction, each in a savepoint of its own.
    async fn commit(
        &mut self,
        operations: Vec<Operation>,
        durability: Durability,
    ) -> Result<(), sqlx::Error> {
        if self.connection.is_none() {
            self.durability = None;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.options.connect().await?),
        };
        if self.durability != Some(durability) {
            execute(connection, durability.pragma()).await?;
            self.durability = Some(durability);
        }
        execute(connection, "BEGIN IMMEDIATE").await?;
        for operation in operations {
            execute(connection, "SAVEPOINT operation").await?;
            if !operation(connection).await {
                execute(connection, "ROLLBACK TO operation").await?;
            }
            execute(connection, "RELEASE operation").await?;
        }
        execute(connection, "COMMIT").await?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the transaction of a failed batch, or drops the connection.
    async fn roll_back(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        // The rollback fails if SQLite itself ended the transaction. Then the next batch connects.
        if execute(connection, "ROLLBACK").await.is_err() {
            self.connection = None;
        }
    }
}

/// Lets other tasks run, so that they can add operations to the batch. Returns as soon as a yield
/// to the scheduler adds none, so a lone operation is not delayed.
async fn gather(jobs: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>) {
    while batch.len() < GATHER_MAX {
        let before = batch.len();
        tokio::task::yield_now().await;
        while batch.len() < BATCH_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        if batch.len() == before {
            return;
        }
    }
}

impl Durability {
    fn pragma(self) -> &'static str {
        match self {
            Self::Lazy => "PRAGMA synchronous = NORMAL",
            Self::Durable => "PRAGMA synchronous = FULL",
        }
    }
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(connection).await.map(drop)
}
