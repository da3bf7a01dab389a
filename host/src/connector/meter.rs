//! Computing time of one run: what polling the guest costs on its thread. Waiting costs nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use rustix::time::{ClockId, clock_gettime};

/// The time that a guest was polled, and how often it gave its turn away.
#[derive(Debug, Default)]
pub(super) struct Meter {
    spent_ns: AtomicU64,
    /// The polling thread's own time when the poll under way began.
    poll_began_ns: AtomicU64,
    yields: AtomicU64,
}

impl Meter {
    /// Milliseconds spent so far. Asked from within a poll it counts that poll too, and must be
    /// asked on the polling thread.
    pub(super) fn spent_ms(&self) -> u64 {
        let began = self.poll_began_ns.load(Ordering::Relaxed);
        let under_way = if began == 0 { 0 } else { thread_ns().saturating_sub(began) };
        (self.spent_ns.load(Ordering::Relaxed) + under_way) / 1_000_000
    }

    /// Counts one turn given away.
    pub(super) fn note_yield(&self) {
        self.yields.fetch_add(1, Ordering::Relaxed);
    }

    /// Turns given away.
    pub(super) fn yields(&self) -> u64 {
        self.yields.load(Ordering::Relaxed)
    }
}

/// The time that this thread has computed, ns; unlike a wall clock it stands still while others
/// run.
fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// A future whose polls are charged to a meter.
pub(super) struct Metered<F> {
    pub(super) future: Pin<Box<F>>,
    pub(super) meter: Arc<Meter>,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let began = thread_ns();
        self.meter.poll_began_ns.store(began.max(1), Ordering::Relaxed);
        let polled = self.future.as_mut().poll(cx);
        self.meter.poll_began_ns.store(0, Ordering::Relaxed);
        self.meter.spent_ns.fetch_add(thread_ns().saturating_sub(began), Ordering::Relaxed);
        polled
    }
}
