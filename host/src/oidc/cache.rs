//! Caches the metadata and the keys that the provider publishes.
//!
//! Because anybody can begin a sign-in, a value is never fetched twice at the same time, and is not
//! fetched for some seconds after a failure.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::completion::{InFlight, SharedWork};

use super::OidcError;

/// The age up to which a value is used without a new fetch.
pub(super) const FRESH_TIME: Duration = Duration::from_secs(60 * 60);
/// The age up to which a value is used until a new value is fetched.
pub(super) const STALE_TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The time without a fetch after a failure.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

pub(super) type FetchResult<T> = Result<Arc<T>, OidcError>;

pub(super) struct Cache<T: Send + Sync + 'static> {
    state: Arc<Mutex<CacheState<T>>>,
    tasks: TaskTracker,
}

struct CacheState<T> {
    /// With the time of the fetch.
    value: Option<(Instant, Arc<T>)>,
    /// With the time of the failure. A success removes it.
    failure: Option<(Instant, OidcError)>,
    in_flight: Option<InFlight<FetchResult<T>>>,
}

/// A result from the cache, or the fetch that will return it.
enum Lookup<T: Send + Sync + 'static> {
    Known(FetchResult<T>),
    Fetching(SharedWork<FetchResult<T>>),
}

impl<T: Send + Sync + 'static> Lookup<T> {
    async fn result(self) -> FetchResult<T> {
        let panicked = || Err(OidcError::Provider("its answer cannot be read".to_owned()));
        match self {
            Self::Known(result) => result,
            Self::Fetching(flight) => flight.result().await.unwrap_or_else(panicked),
        }
    }
}

impl<T: Send + Sync + 'static> Cache<T> {
    pub(super) fn new(tasks: TaskTracker) -> Self {
        let state = CacheState { value: None, failure: None, in_flight: None };
        Self { state: Arc::new(Mutex::new(state)), tasks }
    }

    /// Returns the value. An old value, up to [`STALE_TIME_MAX`], is returned at once, and a new
    /// value is fetched in the background.
    pub(super) async fn get<F>(&self, now: Instant, fetch: impl FnOnce() -> F) -> FetchResult<T>
    where
        F: Future<Output = Result<T, OidcError>> + Send + 'static,
    {
        let cached = self.cached_value(now, STALE_TIME_MAX);
        // If `lookup` is dropped, its fetch continues in a separate task.
        let lookup = self.look_up(now, FRESH_TIME, fetch);
        match (lookup, cached) {
            (Lookup::Known(Ok(value)), _) | (_, Some(value)) => Ok(value),
            (lookup, None) => lookup.result().await,
        }
    }

    /// Returns a value that is younger than `max_age`: the cached value, or else the result of a
    /// fetch. After a recent failure, returns the error of this failure instead of fetching.
    pub(super) async fn get_newer_than<F>(
        &self,
        now: Instant,
        max_age: Duration,
        fetch: impl FnOnce() -> F,
    ) -> FetchResult<T>
    where
        F: Future<Output = Result<T, OidcError>> + Send + 'static,
    {
        let lookup = self.look_up(now, max_age, fetch);
        lookup.result().await
    }

    pub(super) fn cached_value(&self, now: Instant, max_age: Duration) -> Option<Arc<T>> {
        self.state.lock().cached_value(now, max_age)
    }

    /// If the cached value is not younger than `max_age`, joins or starts a fetch. After a recent
    /// failure, returns the error of this failure instead.
    fn look_up<F>(&self, now: Instant, max_age: Duration, fetch: impl FnOnce() -> F) -> Lookup<T>
    where
        F: Future<Output = Result<T, OidcError>> + Send + 'static,
    {
        let mut state = self.state.lock();
        if let Some(value) = state.cached_value(now, max_age) {
            return Lookup::Known(Ok(value));
        }
        let is_recent = |at: Instant| now.saturating_duration_since(at) < PAUSE_AFTER_FAILURE;
        let failure = state.failure.as_ref().filter(|(at, _)| is_recent(*at));
        if let Some((_, error)) = failure {
            return Lookup::Known(Err(error.clone()));
        }
        let shared = Arc::clone(&self.state);
        let fetching = SharedWork::join_or_start(&mut state.in_flight, &self.tasks, || {
            let fetched = fetch();
            async move {
                let fetched = fetched.await.map(Arc::new);
                shared.lock().store(&fetched);
                fetched
            }
        });
        Lookup::Fetching(fetching)
    }
}

impl<T> CacheState<T> {
    fn cached_value(&self, now: Instant, max_age: Duration) -> Option<Arc<T>> {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < max_age;
        let recent = self.value.as_ref().filter(|(at, _)| is_recent(*at));
        recent.map(|(_, value)| Arc::clone(value))
    }

    fn store(&mut self, fetched: &FetchResult<T>) {
        let now = Instant::now();
        match fetched {
            Ok(value) => {
                self.value = Some((now, Arc::clone(value)));
                self.failure = None;
            }
            Err(error) => {
                if self.value.is_some() {
                    tracing::warn!(%error, "cannot fetch from the identity provider; its earlier answer is used for at most a day");
                }
                self.failure = Some((now, error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn cache() -> (Cache<u32>, Instant) {
        (Cache::new(TaskTracker::new()), Instant::now())
    }

    async fn failing_fetch() -> Result<u32, OidcError> {
        Err(OidcError::State)
    }

    async fn fetch_of(value: u32) -> Result<u32, OidcError> {
        Ok(value)
    }

    #[tokio::test]
    async fn concurrent_callers_share_one_fetch_that_continues_without_them() {
        let (cache, now) = cache();
        let (count, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)));
        let fetch = || {
            let (count, gate) = (Arc::clone(&count), Arc::clone(&gate));
            async move {
                count.fetch_add(1, Ordering::Relaxed);
                gate.acquire().await.unwrap().forget();
                Ok(7)
            }
        };
        tokio::select! {
            biased;
            _ = cache.get(now, fetch) => panic!("the gate is closed"),
            () = std::future::ready(()) => {}
        }
        let open = async { gate.add_permits(1) };
        let (one, other, ()) = tokio::join!(cache.get(now, fetch), cache.get(now, fetch), open);
        assert_eq!((*one.unwrap(), *other.unwrap()), (7, 7));
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn after_a_failure_nothing_is_fetched_for_a_while() {
        let (cache, now) = cache();
        assert!(cache.get(now, failing_fetch).await.is_err());
        assert!(
            cache.get(now, || fetch_of(1)).await.is_err(),
            "the failure is returned without another fetch"
        );
        let later = now + PAUSE_AFTER_FAILURE + SECOND;
        assert_eq!(*cache.get(later, || fetch_of(1)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_old_value_is_used_until_a_new_value_is_fetched() {
        let (cache, now) = cache();
        let later = now + FRESH_TIME + SECOND;
        assert_eq!(*cache.get(now, || fetch_of(1)).await.unwrap(), 1);
        assert_eq!(*cache.get(now, || fetch_of(2)).await.unwrap(), 1, "the first value is fresh");
        assert_eq!(*cache.get_newer_than(now, FRESH_TIME, || fetch_of(2)).await.unwrap(), 1);
        let never = std::future::pending::<Result<u32, OidcError>>;
        assert_eq!(
            *cache.get(later, never).await.unwrap(),
            1,
            "the old value is returned before the fetch ends"
        );

        let (cache, _) = self::cache();
        assert_eq!(*cache.get(now, || fetch_of(1)).await.unwrap(), 1);
        assert!(cache.get_newer_than(later, FRESH_TIME, failing_fetch).await.is_err());
        assert_eq!(cache.cached_value(later, STALE_TIME_MAX).as_deref(), Some(&1));
        assert_eq!(cache.cached_value(now + STALE_TIME_MAX + SECOND, STALE_TIME_MAX), None);
    }
}
