//! The time-outs of one client connection: for the head of a request, and for the pause before the
//! request.
//!
//! The body of a request and its answer have no time-out here: the handlers limit them. A request
//! only stores until when it must go on. Nothing is woken, because [`Timing::overdue`] looks often
//! enough.

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

    /// From now on, bytes that arrive start no time for a head: HTTP/2 also sends frames that do
    /// not belong to a request.
    pub(super) fn ignore_received(&self) {
        self.ignores_received.store(true, Ordering::Relaxed);
    }

    /// Bytes have arrived. Only the first bytes of a request start the time for its head.
    pub(super) fn received(&self) {
        if self.ignores_received.load(Ordering::Relaxed) {
            return;
        }
        let begins = matches!(*self.awaited.lock(), Awaited::Request(_));
        if begins {
            self.await_head();
        }
    }

    /// Returns when the client has exceeded a time-out.
    pub(super) async fn overdue(&self) {
        loop {
            let now = Instant::now();
            // A time that is set later ends no sooner than this.
            let look_again = now + self.head.min(self.keep_alive);
            let until = match *self.awaited.lock() {
                Awaited::Request(until) | Awaited::Head(until) if until <= now => return,
                Awaited::Request(until) | Awaited::Head(until) => until.min(look_again),
                Awaited::Nothing => look_again,
            };
            sleep_until(until).await;
        }
    }
}
