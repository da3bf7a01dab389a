//! The one task that writes: it takes what is queued or about to be, runs it in one transaction, commits
//! once and answers everybody afterwards.
//!
//! Never answers before the commit, never lets one failing operation spoil the others of its
//! batch, and never dies of a failed commit: it answers the errors and goes on, so that the store
//! heals when the disk does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::file::told;
use crate::store::StoreError;

/// Operations that may wait; a caller past it waits for room, a lazy one is dropped.
const QUEUE: usize = 4096;
/// Operations that share one commit at most.
const BATCH: usize = 512;
/// So many share it that nobody is waited for any more.
const GATHERED: usize = 32;

/// Whether an operation must survive a power cut once it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// It may be lost by a power cut, never by a crash of the process.
    Lazy,
    /// It is on the disk when its caller goes on.
    Durable,
}

/// What hands operations to the writing task.
pub(super) struct Writer {
    queue: mpsc::Sender<Job>,
    commits: Arc<AtomicU64>,
    dropped: AtomicU64,
    warned: AtomicBool,
    closing: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the task on a connection that is open already; `options` reopens a broken one.
    pub(super) fn start(connection: SqliteConnection, options: SqliteConnectOptions) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let commits = Arc::new(AtomicU64::new(0));
        let closing = CancellationToken::new();
        let desk = Desk {
            connection: Some(connection),
            options,
            durability: None,
            commits: Arc::clone(&commits),
        };
        let task = tokio::spawn(desk.serve(jobs, closing.clone()));
        Self {
            queue,
            commits,
            dropped: AtomicU64::new(0),
            warned: AtomicBool::new(false),
            closing,
            task: Mutex::new(Some(task)),
        }
    }

    /// Runs an operation and returns its value once it is committed.
    pub(super) async fn run<T, F>(&self, durability: Durability, op: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(Request { op: Some(op), result: None, reply: Some(reply) });
        let closed = || StoreError::Unusable("the store is closed".to_owned());
        self.queue.send(Job { durability, work }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Queues an operation that nobody waits for; drops it, and counts that, where there is no room.
    pub(super) fn post<F>(&self, op: F)
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<(), StoreError>>
            + Send
            + 'static,
    {
        let work = Box::new(Request { op: Some(op), result: None, reply: None });
        if self.queue.try_send(Job { durability: Durability::Lazy, work }).is_ok() {
            return;
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("the store's queue is full: events are being dropped from the history");
        }
    }

    /// Commits made so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Lazy operations dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes what is queued, then ends the task.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the store's writer ended badly");
        }
    }
}

struct Job {
    durability: Durability,
    work: Box<dyn Work>,
}

trait Work: Send {
    /// Runs the operation; false: what it wrote must be undone.
    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, bool>;
    /// Tells the caller; `failure` says why nothing of the batch was kept.
    fn answer(self: Box<Self>, failure: Option<&str>);
}

struct Request<T, F> {
    op: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: Option<oneshot::Sender<Result<T, StoreError>>>,
}

impl<T, F> Work for Request<T, F>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send,
{
    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, bool> {
        Box::pin(async move {
            let Some(op) = self.op.take() else { return false };
            let result = op(connection).await;
            let keep = result.is_ok();
            self.result = Some(result);
            keep
        })
    }

    fn answer(self: Box<Self>, failure: Option<&str>) {
        let result = match (self.result, failure) {
            (Some(Err(StoreError::Database(error))), _) => Err(StoreError::Unusable(told(&error))),
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(value)), None) => Ok(value),
            (_, why) => {
                Err(StoreError::Unusable(why.unwrap_or("the operation did not run").to_owned()))
            }
        };
        match (self.reply, result) {
            // A caller that went away needs no answer.
            (Some(reply), result) => drop(reply.send(result)),
            (None, Err(error)) => tracing::debug!(%error, "an event was not kept"),
            (None, Ok(_)) => {}
        }
    }
}

/// The task's own state.
struct Desk {
    connection: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    durability: Option<Durability>,
    commits: Arc<AtomicU64>,
}

impl Desk {
    async fn serve(mut self, mut jobs: mpsc::Receiver<Job>, closing: CancellationToken) {
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
                taken = jobs.recv_many(&mut batch, BATCH) => if taken == 0 { break },
            }
            gather(&mut jobs, &mut batch).await;
            let failure = self.write(&mut batch).await.err().map(|error| told(&error));
            if failure.is_some() {
                self.roll_back().await;
            }
            for job in batch {
                job.work.answer(failure.as_deref());
            }
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }

    /// One transaction for the whole batch, a savepoint for each operation.
    async fn write(&mut self, batch: &mut [Job]) -> Result<(), sqlx::Error> {
        let durable = batch.iter().any(|job| job.durability == Durability::Durable);
        let durability = if durable { Durability::Durable } else { Durability::Lazy };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.durability = None;
                self.options.connect().await?
            }
        };
        let outcome = self.transact(&mut connection, durability, batch).await;
        self.connection = Some(connection);
        outcome
    }

    async fn transact(
        &mut self,
        connection: &mut SqliteConnection,
        durability: Durability,
        batch: &mut [Job],
    ) -> Result<(), sqlx::Error> {
        if self.durability != Some(durability) {
            say(connection, durability.pragma()).await?;
            self.durability = Some(durability);
        }
        say(connection, "BEGIN IMMEDIATE").await?;
        for job in batch {
            say(connection, "SAVEPOINT op").await?;
            if !job.work.run(connection).await {
                say(connection, "ROLLBACK TO op").await?;
            }
            say(connection, "RELEASE op").await?;
        }
        say(connection, "COMMIT").await?;
        self.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Leaves a connection without a transaction, or none: the next batch opens another.
    async fn roll_back(&mut self) {
        let Some(connection) = self.connection.as_mut() else { return };
        // Where SQLite itself ended the transaction there is nothing to roll back, and a fresh
        // connection is as good.
        if say(connection, "ROLLBACK").await.is_err() {
            self.connection = None;
        }
    }
}

/// Lets whoever is about to ask do so first, to share the commit. Costs nothing where nobody is.
async fn gather(jobs: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>) {
    while batch.len() < GATHERED {
        let before = batch.len();
        tokio::task::yield_now().await;
        while batch.len() < BATCH
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

async fn say(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(connection).await.map(drop)
}
