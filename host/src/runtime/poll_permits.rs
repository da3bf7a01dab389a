//! Shares the CPU among guests. At most as many guests are polled at once as there are cores, and
//! the next guest is chosen fairly. Otherwise each task of the host would wait behind hundreds of
//! guests that compute.
//!
//! A poll ends after one epoch slice, because a guest that computes yields then.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::permits::{Admission, Capacity, Lane, Permit, Permits, Request};

/// Maximum number of guests of one lane that wait for the CPU: more than there are runs.
const WAITING_MAX: usize = 2_000;

/// The permits to be polled, which all guests share.
pub(super) fn poll_permits() -> Arc<Permits> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    let capacity = Capacity { slots: cores, runs: cores, waiting: WAITING_MAX, keep_free: false };
    Permits::new(capacity)
}

/// A future that waits for its turn before each poll.
pub(super) struct PermittedPolls<F> {
    future: F,
    poll_permits: Arc<Permits>,
    request: Request,
    waiting: Option<oneshot::Receiver<Permit>>,
}

impl<F: Future + Unpin> PermittedPolls<F> {
    pub(super) fn new(future: F, poll_permits: Arc<Permits>, lane: Lane) -> Self {
        let request = Request { lane, slots: 1, runs_max: u32::MAX };
        Self { future, poll_permits, request, waiting: None }
    }

    /// Waits for a permit. `None` if too many guests wait; then the guest is polled without one.
    fn poll_permit(&mut self, cx: &mut Context<'_>) -> Poll<Option<Permit>> {
        if self.waiting.is_none() {
            match self.poll_permits.ask(self.request.clone()) {
                Admission::Granted(permit) => return Poll::Ready(Some(permit)),
                Admission::Full => return Poll::Ready(None),
                Admission::Waiting(receiver) => self.waiting = Some(receiver),
            }
        }
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(None) };
        let permit = ready!(Pin::new(waiting).poll(cx)).ok();
        self.waiting = None;
        Poll::Ready(permit)
    }
}

impl<F: Future + Unpin> Future for PermittedPolls<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let permit = ready!(self.poll_permit(cx));
        let polled = Pin::new(&mut self.future).poll(cx);
        drop(permit);
        polled
    }
}
