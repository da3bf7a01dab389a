//! Tracks the steps of one request on a client connection: the head of the request has arrived, the
//! whole request has arrived, the answer was sent.
//!
//! An HTTP/2 connection may have several requests at the same time. This module never counts them.

use std::sync::Arc;

use parking_lot::Mutex;

use super::clients::{ArrivingRequest, Client};

/// One request, from its head to the end of its answer.
pub(super) struct RequestProgress {
    client: Arc<Client>,
    step: Mutex<Step>,
}

/// The last step that a request has reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The head of the request has arrived, and its body is arriving.
    Arriving,
    /// The whole request has arrived, or no code will read its rest.
    Arrived,
    /// The HTTP library has received the whole answer, or the connection has ended.
    Answered,
}

/// A guard that marks the request as arrived when the guard is dropped. At that time, the request
/// was read completely, or no code will read its rest.
pub(super) struct ArrivedOnDrop {
    progress: Arc<RequestProgress>,
    /// Counts the request as arriving until this guard is dropped.
    _arriving: Option<ArrivingRequest>,
}

/// A guard that marks the request as answered when the guard is dropped. At that time, the HTTP
/// library has received the whole answer, or the connection has ended.
pub(super) struct AnsweredOnDrop(Arc<RequestProgress>);

impl RequestProgress {
    /// Begins to track a request whose head has arrived. `arriving` counts the request until the
    /// first returned guard is dropped.
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
