//! Tracks one request of a client connection: its head has arrived, the whole request has arrived,
//! its answer was sent.
//!
//! An HTTP/2 connection may have several requests at the same time, so [`Client`] counts them.

use std::sync::Arc;

use parking_lot::Mutex;

use super::clients::{ArrivingRequest, Client};

/// One request, from its head to the end of its answer.
pub(super) struct Progress {
    client: Arc<Client>,
    step: Mutex<Step>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Arriving,
    Arrived,
    Answered,
}

/// Marks the request as arrived when it is dropped: the request was read completely, or nothing
/// reads its rest.
pub(super) struct ArrivedOnDrop {
    progress: Arc<Progress>,
    /// Counts the request as one that arrives, until this is dropped.
    _arriving: Option<ArrivingRequest>,
}

/// Marks the request as answered when it is dropped: the HTTP library has the whole answer, or the
/// client disconnected.
pub(super) struct AnsweredOnDrop(Arc<Progress>);

impl Progress {
    /// Begins to track a request whose head has arrived. `arriving` counts the request until its
    /// rest has arrived.
    pub(super) fn begin(
        client: &Arc<Client>,
        arriving: Option<ArrivingRequest>,
    ) -> (ArrivedOnDrop, AnsweredOnDrop) {
        client.begin_request();
        let (client, step) = (Arc::clone(client), Mutex::new(Step::Arriving));
        let progress = Arc::new(Self { client, step });
        let arrived = ArrivedOnDrop { progress: Arc::clone(&progress), _arriving: arriving };
        (arrived, AnsweredOnDrop(progress))
    }
}

impl Drop for ArrivedOnDrop {
    fn drop(&mut self) {
        let mut step = self.progress.step.lock();
        if *step == Step::Arriving {
            *step = Step::Arrived;
            self.progress.client.mark_busy();
        }
    }
}

impl Drop for AnsweredOnDrop {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *self.0.step.lock(), Step::Answered);
        self.0.client.end_request(before == Step::Arrived);
    }
}
