//! What a run costs its thread and how long it waits for its turn. Computing is what polling the
//! guest takes on the polling thread; waiting for the tracker costs nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use rustix::time::{ClockId, clock_gettime};

/// The engine's ticks so far: the clock by which turns are counted.
#[derive(Debug, Default)]
pub(super) struct Ticks(AtomicU64);

impl Ticks {
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The time that a guest was polled, the turns it took, and what it waited for them.
#[derive(Debug, Default)]
pub(super) struct Meter {
    spent_ns: AtomicU64,
    /// The polling thread's own time when the poll under way began.
    poll_began_ns: AtomicU64,
    turns: AtomicU64,
    yields: AtomicU64,
    waited_ticks: AtomicU64,
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

    /// Turns taken.
    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Turns given away.
    pub(super) fn yields(&self) -> u64 {
        self.yields.load(Ordering::Relaxed)
    }

    /// Ticks between being able to go on and going on, over all turns.
    pub(super) fn waited_ticks(&self) -> u64 {
        self.waited_ticks.load(Ordering::Relaxed)
    }
}

/// The time that this thread has computed, ns; unlike a wall clock it stands still while others
/// run.
fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// A future beside the run whose polls are charged to its meter; it takes no turns.
pub(super) struct Charged<F> {
    future: Pin<Box<F>>,
    meter: Arc<Meter>,
    /// Where it ends, if it may.
    cpu_ms: u64,
}

/// The run has no computing time left.
#[derive(Debug)]
pub(super) struct Spent;

impl<F: Future> Charged<F> {
    /// It ends when the run has spent so much.
    pub(super) fn within(future: F, meter: Arc<Meter>, cpu_ms: u64) -> Self {
        Self { future: Box::pin(future), meter, cpu_ms }
    }

    /// It goes on to its end, whatever it costs.
    pub(super) fn to_its_end(future: F, meter: Arc<Meter>) -> Self {
        Self::within(future, meter, u64::MAX)
    }
}

impl<F: Future> Future for Charged<F> {
    type Output = Result<F::Output, Spent>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { future, meter, cpu_ms } = self.get_mut();
        if meter.spent_ns.load(Ordering::Relaxed) / 1_000_000 >= *cpu_ms {
            return Poll::Ready(Err(Spent));
        }
        let began = thread_ns();
        let polled = future.as_mut().poll(cx);
        meter.spent_ns.fetch_add(thread_ns().saturating_sub(began), Ordering::Relaxed);
        polled.map(Ok)
    }
}

/// A future whose polls are charged to a meter.
pub(super) struct Metered<F> {
    future: Pin<Box<F>>,
    meter: Arc<Meter>,
    queue: Arc<Queue>,
    waker: Waker,
}

/// Notes when a run was woken, and passes the wake on.
struct Queue {
    ticks: Arc<Ticks>,
    /// The tick of the first wake since the last poll, plus one; 0: none.
    woken_at: AtomicU64,
    task: AtomicWaker,
}

impl Wake for Queue {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let now = self.ticks.now() + 1;
        // Only the first wake counts: the run can go on from then.
        let _ = self.woken_at.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.task.wake();
    }
}

impl Queue {
    /// Ticks since the run was woken.
    fn waited(&self) -> u64 {
        match self.woken_at.swap(0, Ordering::Relaxed) {
            0 => 0,
            woken_at => (self.ticks.now() + 1).saturating_sub(woken_at),
        }
    }
}

impl<F: Future> Metered<F> {
    pub(super) fn new(future: F, meter: Arc<Meter>, ticks: Arc<Ticks>) -> Self {
        let task = AtomicWaker::new();
        let queue = Arc::new(Queue { ticks, woken_at: AtomicU64::new(0), task });
        let waker = Waker::from(Arc::clone(&queue));
        Self { future: Box::pin(future), meter, queue, waker }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, meter, queue, waker } = self.get_mut();
        meter.waited_ticks.fetch_add(queue.waited(), Ordering::Relaxed);
        meter.turns.fetch_add(1, Ordering::Relaxed);
        queue.task.register(cx.waker());
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
    async fn ticks_count_from_the_first_wake_to_the_next_turn() {
        let (meter, ticks) = (Arc::new(Meter::default()), Arc::new(Ticks::default()));
        let (clock, mut left) = (Arc::clone(&ticks), 3);
        let run = poll_fn(move |cx| {
            left -= 1;
            if left == 0 {
                return Poll::Ready(());
            }
            clock.note(); // computing: no waiting
            cx.waker().wake_by_ref();
            clock.note();
            cx.waker().wake_by_ref(); // a second wake moves nothing
            clock.note();
            Poll::Pending
        });
        Metered::new(run, Arc::clone(&meter), ticks).await;
        assert_eq!((meter.turns(), meter.waited_ticks()), (3, 4));
    }
}
