//! Work that runs to its end, whatever happens to the task that waits for it.
//!
//! It runs in the waiting task, because a task of its own costs two hand-overs between tasks. If
//! that task gives up, the work continues in a task of its own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The largest future of a work, whose future is copied into its box.
const WORK_BYTES_MAX: usize = 3 << 10;

/// Work in progress. The shutdown waits for its end.
#[must_use = "dropping it moves the work to a task of its own"]
pub(crate) struct Completing<T: Send + 'static> {
    /// In a box: the work is large, and it may move to another task. `None`: it has ended.
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    tasks: TaskTracker,
    runtime: Handle,
    _counted: TaskTrackerToken,
}

/// The work panicked. The panic was printed.
#[derive(Debug, thiserror::Error)]
#[error("the work panicked: {0}")]
pub(crate) struct Panicked(String);

impl<T: Send + 'static> Completing<T> {
    /// Call it in a task of the runtime that may have to finish the work.
    pub(crate) fn new<W>(tasks: &TaskTracker, work: W) -> Self
    where
        W: Future<Output = T> + Send + 'static,
    {
        const { assert!(size_of::<W>() <= WORK_BYTES_MAX, "box a part of the work: it is copied") };
        let work: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(work);
        let (tasks, counted) = (tasks.clone(), tasks.token());
        Self { work: Some(work), tasks, runtime: Handle::current(), _counted: counted }
    }
}

impl<T: Send + 'static> Future for Completing<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        // The work is dropped after a panic, so nothing sees a state that the panic left behind.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(Panicked(message(&*panic))),
        };
        self.work = None;
        Poll::Ready(ended)
    }
}

impl<T: Send + 'static> Drop for Completing<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.tasks.spawn_on(work, &self.runtime);
        }
    }
}

/// Receives the result of work in progress.
pub(crate) type InFlight<T> = watch::Receiver<Option<T>>;

/// Work for whose result several wait: the first one starts it, the others join it.
pub(crate) enum Flight<T: Send + 'static> {
    Started(Completing<T>),
    Joined(InFlight<T>),
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Joins the work in this slot, unless it has ended or panicked; otherwise starts `work`.
    pub(crate) fn join_or_start<F>(
        slot: &mut Option<InFlight<T>>,
        tasks: &TaskTracker,
        work: impl FnOnce() -> F,
    ) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        // Work that has ended leaves a closed channel behind.
        if let Some(in_flight) = slot.as_ref().filter(|it| it.has_changed().is_ok()) {
            return Self::Joined(in_flight.clone());
        }
        let (sender, in_flight) = watch::channel(None);
        *slot = Some(in_flight);
        // In a box before it is captured: a future that captures another one holds it twice.
        let work = Box::pin(work());
        Self::Started(Completing::new(tasks, async move {
            let result = work.await;
            sender.send_replace(Some(result.clone()));
            result
        }))
    }

    /// Whether somebody else started the work.
    pub(crate) fn is_joined(&self) -> bool {
        matches!(self, Self::Joined(_))
    }

    /// The result; `None` if the work panicked.
    pub(crate) async fn result(self) -> Option<T> {
        match self {
            Self::Started(work) => work.await.ok(),
            Self::Joined(mut in_flight) => {
                in_flight.wait_for(Option::is_some).await.ok().and_then(|it| it.clone())
            }
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
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
    async fn work_goes_on_without_its_waiter_and_the_shutdown_waits_for_it() {
        let tasks = TaskTracker::new();
        tasks.close();
        let (go, went) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let work = Completing::new(&tasks, async move {
            let _ = went.await;
            let _ = end.send(7);
        });
        let waiting = Duration::from_millis(10);
        assert!(timeout(waiting, work).await.is_err(), "the waiter gives up");
        assert!(timeout(waiting, tasks.wait()).await.is_err(), "the shutdown waits");
        go.send(()).unwrap();
        assert_eq!(ended.await, Ok(7));
        tasks.wait().await;
    }

    #[tokio::test]
    async fn work_that_has_ended_or_panicked_returns_once() {
        let tasks = TaskTracker::new();
        assert_eq!(Completing::new(&tasks, async { 7 }).await.ok(), Some(7));
        let panicking = Completing::new(&tasks, async { panic!("on purpose") }).await;
        let why = panicking.unwrap_err().to_string();
        assert_eq!(why, "the work panicked: on purpose");
        assert!(tasks.is_empty());
    }
}
