//! Runs work to its end, even if the task that waits for the result is cancelled.
//!
//! The work runs in the waiting task, because a separate task would cost two task switches. If the
//! waiting task is cancelled, the work continues in a separate task.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Maximum size of the future of the work, bytes. The future is copied once, into its box, and the
/// copy of a larger future would take noticeable time.
const WORK_BYTES_MAX: usize = 3 << 10;

/// Work in progress. The shutdown of the server waits until the work has ended.
#[must_use = "dropping it moves the work to a separate task"]
pub(crate) struct WorkToCompletion<T: Send + 'static> {
    /// The future of the work; `None` if the work has ended. The future is boxed, so that only a
    /// pointer moves if the work moves to another task.
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    tasks: TaskTracker,
    runtime: Handle,
    /// The shutdown waits until this token is dropped.
    _token: TaskTrackerToken,
}

/// The error that the work panicked. The panic message was already printed.
#[derive(Debug, thiserror::Error)]
#[error("the work panicked: {0}")]
pub(crate) struct WorkPanicked(String);

impl<T: Send + 'static> WorkToCompletion<T> {
    /// Creates the work without polling it. Call this in a task of the runtime that must complete
    /// the work if the waiting task is cancelled.
    pub(crate) fn new<W>(tasks: &TaskTracker, work: W) -> Self
    where
        W: Future<Output = T> + Send + 'static,
    {
        const { assert!(size_of::<W>() <= WORK_BYTES_MAX, "the future is copied: box a part of it") };
        let work: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(work);
        let (tasks, token) = (tasks.clone(), tasks.token());
        Self { work: Some(work), tasks, runtime: Handle::current(), _token: token }
    }
}

impl<T: Send + 'static> Future for WorkToCompletion<T> {
    type Output = Result<T, WorkPanicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        // The work is dropped after a panic, so no code uses a state that the panic left
        // incomplete.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(WorkPanicked(panic_message(&*panic))),
        };
        self.work = None;
        Poll::Ready(ended)
    }
}

impl<T: Send + 'static> Drop for WorkToCompletion<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.tasks.spawn_on(work, &self.runtime);
        }
    }
}

/// Receives the result of work in progress.
pub(crate) type InFlight<T> = watch::Receiver<Option<T>>;

/// Work whose result several callers need. The first caller starts the work, and the others join
/// it.
pub(crate) enum SharedWork<T: Send + 'static> {
    Started(WorkToCompletion<T>),
    Joined(InFlight<T>),
}

impl<T: Clone + Send + Sync + 'static> SharedWork<T> {
    /// Joins the work whose receiver is in this slot, if this work is in progress. Otherwise
    /// creates `work`, and stores the receiver of its result in the slot.
    pub(crate) fn join_or_start<F>(
        slot: &mut Option<InFlight<T>>,
        tasks: &TaskTracker,
        work: impl FnOnce() -> F,
    ) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        // If the work has ended, its channel is closed and `has_changed` returns an error.
        if let Some(in_flight) = slot.as_ref().filter(|receiver| receiver.has_changed().is_ok()) {
            return Self::Joined(in_flight.clone());
        }
        let (sender, in_flight) = watch::channel(None);
        *slot = Some(in_flight);
        // The future is boxed before it is captured, because a future that captures another future
        // would contain it twice.
        let work = Box::pin(work());
        Self::Started(WorkToCompletion::new(tasks, async move {
            let result = work.await;
            sender.send_replace(Some(result.clone()));
            result
        }))
    }

    /// Whether another caller has started the work.
    pub(crate) fn is_joined(&self) -> bool {
        matches!(self, Self::Joined(_))
    }

    /// Waits for the result; `None` if the work panicked.
    pub(crate) async fn result(self) -> Option<T> {
        match self {
            Self::Started(work) => work.await.ok(),
            Self::Joined(mut in_flight) => {
                in_flight.wait_for(Option::is_some).await.ok().and_then(|result| result.clone())
            }
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn work_continues_after_the_wait_is_cancelled_and_the_shutdown_waits_for_the_work() {
        let tasks = TaskTracker::new();
        tasks.close();
        let (allow_end, end_allowed) = oneshot::channel::<()>();
        let (report_end, end_reported) = oneshot::channel();
        let work = WorkToCompletion::new(&tasks, async move {
            let _ = end_allowed.await;
            let _ = report_end.send(7);
        });
        let waiting = Duration::from_millis(10);
        assert!(timeout(waiting, work).await.is_err(), "the wait is cancelled");
        assert!(timeout(waiting, tasks.wait()).await.is_err(), "the shutdown waits");
        allow_end.send(()).unwrap();
        assert_eq!(end_reported.await, Ok(7));
        tasks.wait().await;
    }

    #[tokio::test]
    async fn work_returns_its_result_or_that_it_panicked() {
        let tasks = TaskTracker::new();
        assert_eq!(WorkToCompletion::new(&tasks, async { 7 }).await.ok(), Some(7));
        let panicking = WorkToCompletion::new(&tasks, async { panic!("on purpose") }).await;
        let why = panicking.unwrap_err().to_string();
        assert_eq!(why, "the work panicked: on purpose");
        assert!(tasks.is_empty());
    }
}
