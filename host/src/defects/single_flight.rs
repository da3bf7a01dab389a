//! Runs at most one create for each failed test in this process: equal requests join the one in
//! progress and get its answer.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::completion::{Flight, InFlight};
use crate::domain::{ConnectionId, FailedTest};

use super::Answer;

/// The largest future of a create. It is copied into its box, and into others on the way.
const CREATE_BYTES_MAX: usize = 10 << 10;

/// The connection, and the key of the failed test.
type Key = (ConnectionId, Uuid, Uuid, String);

/// The creates in progress, by failed test.
#[derive(Default)]
pub(super) struct SingleFlight {
    by_test: Arc<Mutex<HashMap<Key, Option<InFlight<Answer>>>>>,
}

impl SingleFlight {
    /// Joins the create of this failed test that is in progress, or starts `create`, which runs to
    /// its end.
    pub(super) fn join_or_start<F>(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
        tasks: &TaskTracker,
        create: impl FnOnce() -> F,
    ) -> Flight<Answer>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        const {
            assert!(
                size_of::<F>() <= CREATE_BYTES_MAX,
                "box what is rare in a create: it is copied"
            );
        }
        let (execution, case, variation) = test.key();
        let key = (connection, execution, case, variation.to_owned());
        let mut by_test = self.by_test.lock();
        let slot = by_test.entry(key.clone()).or_default();
        Flight::join_or_start(slot, tasks, || {
            let (all, create) = (Arc::clone(&self.by_test), Box::pin(create()));
            async move {
                let answer = create.await;
                all.lock().remove(&key);
                answer
            }
        })
    }
}
