//! The time-outs of one client connection: for the head of a request, and for the pause between an
//! answer and the next request.
//!
//! This module never limits the time for the body of a request or for the answer. Starting a
//! time-out only stores its deadline and wakes no task: [`ConnectionTimeouts::wait_until_overdue`]
//! compares the deadline with the clock often enough.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// The part of a request that the client must send next, with its deadline.
#[derive(Debug, Clone, Copy)]
enum AwaitedPart {
    /// The first byte of another request.
    Request(Instant),
    /// A request's head, or the rest of it.
    Head(Instant),
    /// No part: a request whose head is complete is not answered yet, or the connection has not
    /// begun to use HTTP.
    Nothing,
}

/// The time-outs of one client connection.
pub(super) struct ConnectionTimeouts {
    head_timeout: Duration,
    keep_alive_timeout: Duration,
    awaited_part: Mutex<AwaitedPart>,
    ignores_received_bytes: AtomicBool,
}

impl ConnectionTimeouts {
    pub(super) fn new(head_timeout: Duration, keep_alive_timeout: Duration) -> Self {
        Self {
            head_timeout,
            keep_alive_timeout,
            awaited_part: Mutex::new(AwaitedPart::Nothing),
            ignores_received_bytes: AtomicBool::new(false),
        }
    }

    /// Call this when HTTP begins on the connection or the first byte of a request has arrived.
    pub(super) fn start_head_timeout(&self) {
        *self.awaited_part.lock() = AwaitedPart::Head(Instant::now() + self.head_timeout);
    }

    pub(super) fn stop_head_timeout(&self) {
        *self.awaited_part.lock() = AwaitedPart::Nothing;
    }

    /// Call this when all requests are answered.
    pub(super) fn start_keep_alive_timeout(&self) {
        *self.awaited_part.lock() = AwaitedPart::Request(Instant::now() + self.keep_alive_timeout);
    }

    /// After this call, the arrival of bytes does not start the time-out for a head, because an
    /// HTTP/2 client also sends frames that do not belong to a request.
    pub(super) fn ignore_received_bytes(&self) {
        self.ignores_received_bytes.store(true, Ordering::Relaxed);
    }

    /// Records that bytes have arrived. The first bytes after an answer start the time-out for a
    /// head.
    pub(super) fn record_received_bytes(&self) {
        if self.ignores_received_bytes.load(Ordering::Relaxed) {
            return;
        }
        let begins_request = matches!(*self.awaited_part.lock(), AwaitedPart::Request(_));
        if begins_request {
            self.start_head_timeout();
        }
    }

    /// Waits until the client has exceeded a time-out.
    pub(super) async fn wait_until_overdue(&self) {
        loop {
            let now = Instant::now();
            // If a deadline is stored after this line, it is not earlier than `next_check`.
            let next_check = now + self.head_timeout.min(self.keep_alive_timeout);
            let until = match *self.awaited_part.lock() {
                AwaitedPart::Request(until) | AwaitedPart::Head(until) if until <= now => return,
                AwaitedPart::Request(until) | AwaitedPart::Head(until) => until.min(next_check),
                AwaitedPart::Nothing => next_check,
            };
            sleep_until(until).await;
        }
    }
}
