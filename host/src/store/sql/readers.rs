//! Runs the threads that read from the database, each with its own connection, so that the threads
//! that handle requests do not wait for the disk.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::database::Database;
use super::writer::{closed_error, panicked_error};
use crate::store::{DatabaseError, StoreError};

/// Maximum number of queued reads.
const QUEUED_READS_MAX: usize = 4_096;

/// A queued read. It is called with the open connection to the database, or with the error if there
/// is none.
type Read = Box<dyn FnOnce(Result<&dyn Database, StoreError>) + Send>;

/// A reading thread's connection to a database.
pub(in crate::store) trait ReadLink: Send {
    /// Returns the open connection, or opens one if there is none.
    fn database(&mut self) -> Result<&dyn Database, StoreError>;
}

pub(super) struct Readers {
    queue: Arc<ReadQueue>,
    /// Each receives a message when its reading thread has ended.
    thread_ends: Mutex<Vec<oneshot::Receiver<()>>>,
}

#[derive(Default)]
struct ReadQueue {
    state: Mutex<QueuedReads>,
    changed: Condvar,
}

#[derive(Default)]
struct QueuedReads {
    reads: VecDeque<Read>,
    is_closed: bool,
}

impl Readers {
    pub(super) fn start(links: Vec<Box<dyn ReadLink>>) -> Result<Self, StoreError> {
        let readers = Self { queue: Arc::default(), thread_ends: Mutex::default() };
        for mut link in links {
            let (end, ended) = oneshot::channel();
            let queue = Arc::clone(&readers.queue);
            let thread = thread::Builder::new().name("store-reader".to_owned()).spawn(move || {
                while let Some(read) = queue.next() {
                    // A panic is a bug, but the thread must continue. The caller gets an error.
                    let _ = catch_unwind(AssertUnwindSafe(|| read(link.database())));
                }
                drop(link);
                let _ = end.send(());
            });
            thread.map_err(|error| DatabaseError::new("the store cannot start", error, None))?;
            readers.thread_ends.lock().push(ended);
        }
        Ok(readers)
    }

    pub(super) async fn run<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Database) -> Result<T, StoreError> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        self.queue.push(Box::new(move |db| {
            // If the caller no longer waits, the value is dropped.
            let _ = caller.send(db.and_then(read));
        }))?;
        answer.await.unwrap_or_else(|_| Err(panicked_error()))
    }

    /// Ends the threads after they have finished the queued reads.
    pub(super) async fn close(&self) {
        self.queue.close();
        let thread_ends = std::mem::take(&mut *self.thread_ends.lock());
        for ended in thread_ends {
            let _ = ended.await;
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl ReadQueue {
    fn push(&self, read: Read) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Err(closed_error());
        }
        if state.reads.len() >= QUEUED_READS_MAX {
            let why = "too many reads of the database are queued; try again in a moment";
            return Err(StoreError::Unusable(why.to_owned()));
        }
        state.reads.push_back(read);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next read. Returns `None` once the queue is closed and empty.
    fn next(&self) -> Option<Read> {
        let mut state = self.state.lock();
        loop {
            if let Some(read) = state.reads.pop_front() {
                return Some(read);
            }
            if state.is_closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }
}
