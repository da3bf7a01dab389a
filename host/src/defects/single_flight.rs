//! Runs at most one create for each failed test in this process: equal requests join the one in
//! progress and get its answer.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::domain::{ConnectionId, FailedTest};

use super::Answer;

/// The connection, and the key of the failed test.
type Key = (ConnectionId, Uuid, Uuid, String);

/// Receives the answer of a create in progress.
pub(super) type InFlight = watch::Receiver<Option<Answer>>;

/// The creates in progress, by failed test.
#[derive(Default)]
pub(super) struct SingleFlight {
    by_test: Arc<Mutex<HashMap<Key, InFlight>>>,
}

impl SingleFlight {
    /// Joins the create of this failed test that is in progress, or starts `create` as a task of
    /// its own. Returns true if it joined.
    pub(super) fn join_or_start<F>(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
        tasks: &TaskTracker,
        create: impl FnOnce() -> F,
    ) -> (InFlight, bool)
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let (execution, case, variation) = test.key();
        let key = (connection, execution, case, variation.to_owned());
        let mut by_test = self.by_test.lock();
        // A task that panicked leaves a closed channel behind.
        if let Some(in_flight) = by_test.get(&key).filter(|it| it.has_changed().is_ok()) {
            return (in_flight.clone(), true);
        }
        let (sender, in_flight) = watch::channel(None);
        by_test.insert(key.clone(), in_flight.clone());
        // In a box: the future is large, and starting a task moves it several times.
        let (all, create) = (Arc::clone(&self.by_test), Box::pin(create()));
        tasks.spawn(async move {
            let answer = create.await;
            all.lock().remove(&key);
            sender.send_replace(Some(answer));
        });
        (in_flight, false)
    }
}
