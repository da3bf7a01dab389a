//! Shares the CPU fairly among guests: polls at most one guest for each core at the same time, so
//! that the host's own tasks need not wait for many guests that compute.
//!
//! A guest that computes yields at each tick of the engine. This module never interrupts a poll.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::permits::{Capacity, Lane, Permit, PermitAnswer, PermitRequest, Permits};

/// Maximum number of guests of one lane that wait for the CPU. It is higher than the number of runs
/// that the engine has slots for.
const WAITING_GUESTS_MAX: usize = 2_000;

pub(super) fn new_poll_permits() -> Arc<Permits> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    let capacity = Capacity {
        slots: cores,
        runs: cores,
        waiting_max: WAITING_GUESTS_MAX,
        keeps_reserve: false,
    };
    Permits::new(capacity)
}

/// A future that gets a permit before each poll of the inner future, and releases the permit after
/// the poll.
pub(super) struct PermittedPolls<F> {
    future: F,
    poll_permits: Arc<Permits>,
    request: PermitRequest,
    permit_receiver: Option<oneshot::Receiver<Permit>>,
}

impl<F: Future + Unpin> PermittedPolls<F> {
    pub(super) fn new(future: F, poll_permits: Arc<Permits>, lane: Lane) -> Self {
        let request = PermitRequest { lane, slots: 1, runs_max: u32::MAX };
        Self { future, poll_permits, request, permit_receiver: None }
    }

    /// Waits for a permit. Returns `None` if too many guests wait; the guest is then polled without
    /// a permit.
    fn poll_permit(&mut self, cx: &mut Context<'_>) -> Poll<Option<Permit>> {
        if self.permit_receiver.is_none() {
            match self.poll_permits.request_permit(self.request.clone()) {
                PermitAnswer::Granted(permit) => return Poll::Ready(Some(permit)),
                PermitAnswer::QueueFull => return Poll::Ready(None),
                PermitAnswer::Waiting(receiver) => self.permit_receiver = Some(receiver),
            }
        }
        let Some(receiver) = &mut self.permit_receiver else { return Poll::Ready(None) };
        let permit = ready!(Pin::new(receiver).poll(cx)).ok();
        self.permit_receiver = None;
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
