//! The CPU time of a run, and how long the run waits until it is polled.
//!
//! CPU time is what the polling thread uses while it polls the guest. Waiting for the tracker
//! costs nothing.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use rustix::time::{ClockId, clock_gettime};

/// Counts the engine's ticks. This clock measures how long a run waits.
#[derive(Debug, Default)]
pub(crate) struct Ticks(AtomicU64);

impl Ticks {
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Measures the CPU time of a run, its polls, and how long it waited for them.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    spent_ns: AtomicU64,
    /// The CPU time of the polling thread when the current poll began; 0 if no poll is running.
    poll_began_ns: AtomicU64,
    polls: AtomicU64,
    yields: AtomicU64,
    waited_ticks: AtomicU64,
}

impl Meter {
    /// CPU time so far, milliseconds. During a poll, call it on the polling thread only: it then
    /// counts the current poll too.
    pub(crate) fn spent_ms(&self) -> u64 {
        let began = self.poll_began_ns.load(Ordering::Relaxed);
        let current = if began == 0 { 0 } else { thread_ns().saturating_sub(began) };
        (self.spent_ns.load(Ordering::Relaxed) + current) / 1_000_000
    }

    /// Counts one yield.
    pub(crate) fn note_yield(&self) {
        self.yields.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the run was polled.
    pub(crate) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// How often the guest yielded to other runs.
    pub(crate) fn yields(&self) -> u64 {
        self.yields.load(Ordering::Relaxed)
    }

    /// Ticks between each wake and the poll that followed, in total.
    pub(crate) fn waited_ticks(&self) -> u64 {
        self.waited_ticks.load(Ordering::Relaxed)
    }

    /// Calls `poll`, and charges its CPU time.
    fn charge<T>(&self, poll: impl FnOnce() -> T) -> T {
        let began = thread_ns();
        let polled = poll();
        self.spent_ns.fetch_add(thread_ns().saturating_sub(began), Ordering::Relaxed);
        polled
    }
}

/// The CPU time of this thread, ns. Unlike a wall clock, it does not advance while only other
/// threads run.
fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// A future that the host runs for a guest, outside the guest's own polls. Its CPU time is charged
/// to the run. It ends with [`CpuExhausted`] when the run has used all its CPU time.
pub(crate) struct CpuCharged<F> {
    future: Pin<Box<F>>,
    meter: Arc<Meter>,
    cpu_ms: u64,
}

/// The run has used all its CPU time.
#[derive(Debug)]
pub(crate) struct CpuExhausted;

impl<F: Future> CpuCharged<F> {
    /// `cpu_ms` is the CPU time that the run may use in total.
    pub(crate) fn within(future: F, meter: Arc<Meter>, cpu_ms: u64) -> Self {
        Self { future: Box::pin(future), meter, cpu_ms }
    }
}

impl<F: Future> Future for CpuCharged<F> {
    type Output = Result<F::Output, CpuExhausted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { future, meter, cpu_ms } = self.get_mut();
        if meter.spent_ns.load(Ordering::Relaxed) / 1_000_000 >= *cpu_ms {
            return Poll::Ready(Err(CpuExhausted));
        }
        meter.charge(|| future.as_mut().poll(cx)).map(Ok)
    }
}

/// Charges a future's CPU time to a run, and lets the future complete even if the run has used all
/// its CPU time.
pub(crate) async fn run_to_completion<F: Future>(future: F, meter: Arc<Meter>) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| meter.charge(|| future.as_mut().poll(cx))).await
}

/// The future of a guest. The meter counts its polls, their CPU time, and the wait before each
/// poll.
pub(crate) struct Metered<F> {
    future: Pin<Box<F>>,
    meter: Arc<Meter>,
    wakes: Arc<WakeRecorder>,
    waker: Waker,
}

/// Records when a run was woken, and forwards the wake.
struct WakeRecorder {
    ticks: Arc<Ticks>,
    /// The tick of the first wake since the last poll, plus one; 0: no wake.
    woken_at: AtomicU64,
    task: AtomicWaker,
}

impl Wake for WakeRecorder {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let now = self.ticks.now() + 1;
        // Only the first wake counts, because the run is ready from then on.
        let _ = self.woken_at.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.task.wake();
    }
}

impl WakeRecorder {
    /// Ticks since the run was first woken after its last poll. Resets the count.
    fn waited(&self) -> u64 {
        match self.woken_at.swap(0, Ordering::Relaxed) {
            0 => 0,
            woken_at => (self.ticks.now() + 1).saturating_sub(woken_at),
        }
    }
}

impl<F: Future> Metered<F> {
    pub(crate) fn new(future: F, meter: Arc<Meter>, ticks: Arc<Ticks>) -> Self {
        let task = AtomicWaker::new();
        let wakes = Arc::new(WakeRecorder { ticks, woken_at: AtomicU64::new(0), task });
        let waker = Waker::from(Arc::clone(&wakes));
        Self { future: Box::pin(future), meter, wakes, waker }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, meter, wakes, waker } = self.get_mut();
        meter.waited_ticks.fetch_add(wakes.waited(), Ordering::Relaxed);
        meter.polls.fetch_add(1, Ordering::Relaxed);
        wakes.task.register(cx.waker());
        let began = thread_ns();
        meter.poll_began_ns.store(began.max(1), Ordering::Relaxed);
        let polled = future.as_mut().poll(&mut Context::from_waker(waker));
        meter.poll_began_ns.store(0, Ordering::Relaxed);
        meter.spent_ns.fetch_add(thread_ns().saturating_sub(began), Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn ticks_count_from_the_first_wake_to_the_next_poll() {
        let (meter, ticks) = (Arc::new(Meter::default()), Arc::new(Ticks::default()));
        let (clock, mut left) = (Arc::clone(&ticks), 3);
        let run = poll_fn(move |cx| {
            left -= 1;
            if left == 0 {
                return Poll::Ready(());
            }
            clock.note(); // during a poll: not waiting
            cx.waker().wake_by_ref();
            clock.note();
            cx.waker().wake_by_ref(); // a second wake changes nothing
            clock.note();
            Poll::Pending
        });
        Metered::new(run, Arc::clone(&meter), ticks).await;
        assert_eq!((meter.polls(), meter.waited_ticks()), (3, 4));
    }
}
