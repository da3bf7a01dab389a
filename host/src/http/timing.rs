//! The time-outs of one client connection: for the head of a request, and for the pause before the
//! request.
//!
//! The body of a request and its answer never have a time-out here, because the handlers limit
//! them. Each step only stores the next deadline. No task is woken for it: [`Timing::overdue`]
//! compares the deadline with the clock often enough.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// The part of a request that the client must send next, and the deadline for it.
#[derive(Debug, Clone, Copy)]
enum Awaited {
    /// The first byte of another request.
    Request(Instant),
    /// The rest of a request's head.
    Head(Instant),
    /// Nothing: the head is complete, and the request is not answered yet.
    Nothing,
}

/// The time-outs of one connection.
pub(super) struct Timing {
    head: Duration,
    keep_alive: Duration,
    awaited: Mutex<Awaited>,
    /// Whether received bytes start no time-out.
    ignores_received: AtomicBool,
}

impl Timing {
    pub(super) fn new(head: Duration, keep_alive: Duration) -> Self {
        Self {
            head,
            keep_alive,
            awaited: Mutex::new(Awaited::Nothing),
            ignores_received: AtomicBool::new(false),
        }
    }

    /// Starts the time-out for the head: a request has begun.
    pub(super) fn await_head(&self) {
        *self.awaited.lock() = Awaited::Head(Instant::now() + self.head);
    }

    /// Stops the time-out for the head: the head is complete.
    pub(super) fn head_complete(&self) {
        *self.awaited.lock() = Awaited::Nothing;
    }

    /// Starts the time-out for the next request: an answer was sent.
    pub(super) fn await_request(&self) {
        *self.awaited.lock() = Awaited::Request(Instant::now() + self.keep_alive);
    }

    /// From now on, received bytes start no time-out for a head, because HTTP/2 also sends frames
    /// that do not belong to a request.
    pub(super) fn ignore_received(&self) {
        self.ignores_received.store(true, Ordering::Relaxed);
    }

    /// Records that bytes have arrived. Only the first bytes of a request start the time-out for
    /// its head.
    pub(super) fn received(&self) {
        if self.ignores_received.load(Ordering::Relaxed) {
            return;
        }
        let begins_request = matches!(*self.awaited.lock(), Awaited::Request(_));
        if begins_request {
            self.await_head();
        }
    }

    /// Waits until the client has exceeded a time-out.
    pub(super) async fn overdue(&self) {
        loop {
            let now = Instant::now();
            // A deadline that is set after this line is not before `next_check`.
            let next_check = now + self.head.min(self.keep_alive);
            let until = match *self.awaited.lock() {
                Awaited::Request(until) | Awaited::Head(until) if until <= now => return,
                Awaited::Request(until) | Awaited::Head(until) => until.min(next_check),
                Awaited::Nothing => next_check,
            };
            sleep_until(until).await;
        }
    }
}
