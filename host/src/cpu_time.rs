//! Measures the CPU time of a run, and how long a run that could continue waits for its next poll.
//!
//! The CPU time of a run is the CPU time that threads use while they poll the guest, or a future
//! that is charged to the run.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use rustix::time::{ClockId, clock_gettime};

/// Counts the ticks of the engine, which are the clock for the waits of runs.
#[derive(Debug, Default)]
pub(crate) struct Ticks(AtomicU64);

impl Ticks {
    pub(crate) fn count_tick(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// The CPU time of all polls that have ended, of the guest and of charged futures, nanoseconds.
    spent_ns: AtomicU64,
    /// The CPU time of the polling thread when the current poll of the guest began; 0 if the guest
    /// is not being polled.
    poll_start_ns: AtomicU64,
    polls: AtomicU64,
    yields: AtomicU64,
    /// The sum of the ticks from the first wake after the start of each poll to the next poll.
    waited_ticks: AtomicU64,
}

impl Meter {
    /// Returns the CPU time so far, milliseconds. During a poll, only the polling thread may call
    /// this function.
    pub(crate) fn spent_ms(&self) -> u64 {
        let start_ns = self.poll_start_ns.load(Ordering::Relaxed);
        let current_poll_ns =
            if start_ns == 0 { 0 } else { thread_cpu_ns().saturating_sub(start_ns) };
        (self.spent_ns.load(Ordering::Relaxed) + current_poll_ns) / 1_000_000
    }

    pub(crate) fn count_yield(&self) {
        self.yields.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    pub(crate) fn yields(&self) -> u64 {
        self.yields.load(Ordering::Relaxed)
    }

    pub(crate) fn waited_ticks(&self) -> u64 {
        self.waited_ticks.load(Ordering::Relaxed)
    }

    /// Adds the CPU time of `poll` to the CPU time of the run.
    fn charge<T>(&self, poll: impl FnOnce() -> T) -> T {
        let start_ns = thread_cpu_ns();
        let polled = poll();
        self.spent_ns.fetch_add(thread_cpu_ns().saturating_sub(start_ns), Ordering::Relaxed);
        polled
    }
}

/// The CPU time of this thread, nanoseconds. It does not advance while only other threads run.
fn thread_cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// A future that the host runs for a guest, outside the polls of the guest. Its CPU time is charged
/// to the run. It is polled only while the run has CPU time left.
pub(crate) struct CpuCharged<F> {
    future: Pin<Box<F>>,
    meter: Arc<Meter>,
    /// The CPU time that the run may use in total, milliseconds.
    cpu_ms: u64,
}

#[derive(Debug)]
pub(crate) struct CpuExhausted;

impl<F: Future> CpuCharged<F> {
    pub(crate) fn with_cpu_limit(future: F, meter: Arc<Meter>, cpu_ms: u64) -> Self {
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

/// Charges a future's CPU time to a run, without a limit.
pub(crate) async fn run_to_completion<F: Future>(future: F, meter: Arc<Meter>) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| meter.charge(|| future.as_mut().poll(cx))).await
}

/// The future of a guest, whose polls are measured.
pub(crate) struct Metered<F> {
    future: Pin<Box<F>>,
    meter: Arc<Meter>,
    wakes: Arc<WakeRecorder>,
    waker: Waker,
}

struct WakeRecorder {
    ticks: Arc<Ticks>,
    /// The tick of the first wake since the last poll began, plus one; 0 if there was no wake.
    woken_at: AtomicU64,
    /// The waker of the task that polls the run.
    task: AtomicWaker,
}

impl Wake for WakeRecorder {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let now = self.ticks.now() + 1;
        // The run is ready to be polled from the first wake on.
        let _ = self.woken_at.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.task.wake();
    }
}

impl WakeRecorder {
    /// Returns the ticks since the first wake after the last poll began, and forgets this wake.
    fn take_waited_ticks(&self) -> u64 {
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
        meter.waited_ticks.fetch_add(wakes.take_waited_ticks(), Ordering::Relaxed);
        meter.polls.fetch_add(1, Ordering::Relaxed);
        wakes.task.register(cx.waker());
        let start_ns = thread_cpu_ns();
        meter.poll_start_ns.store(start_ns.max(1), Ordering::Relaxed);
        let polled = future.as_mut().poll(&mut Context::from_waker(waker));
        meter.poll_start_ns.store(0, Ordering::Relaxed);
        meter.spent_ns.fetch_add(thread_cpu_ns().saturating_sub(start_ns), Ordering::Relaxed);
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
        let (clock, mut polls_left) = (Arc::clone(&ticks), 3);
        let run = poll_fn(move |cx| {
            polls_left -= 1;
            if polls_left == 0 {
                return Poll::Ready(());
            }
            clock.count_tick(); // The run does not wait during its own poll.
            cx.waker().wake_by_ref();
            clock.count_tick();
            cx.waker().wake_by_ref(); // Only the first wake counts.
            clock.count_tick();
            Poll::Pending
        });
        Metered::new(run, Arc::clone(&meter), ticks).await;
        assert_eq!((meter.polls(), meter.waited_ticks()), (3, 4));
    }
}
