//! State of this process that the store does not contain, such as the rows that this process works
//! on. Also detects that the wall clock stepped.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::domain::{Clock, DefectId, FollowUpKind};
use crate::store::StoreError;

use super::Dependencies;
use super::index_lag::NewRecords;

/// If the difference between the wall clock and the monotonic clock changes by this much, the wall
/// clock stepped. A smaller change is a normal correction.
const STEP_MIN: Duration = Duration::from_secs(2);

/// The state that all work on defects in this process shares. Cloning is cheap.
#[derive(Clone, Default)]
pub struct ProcessState {
    pub(super) new_records: NewRecords,
    pub(super) follow_up_added: Arc<Notify>,
    /// The rows that have a live [`RowInWork`].
    rows_in_work: Arc<Mutex<HashMap<DefectId, WorkOnRow>>>,
    /// The time at which the machine started, as the last check computed it from the wall clock.
    booted_at: Arc<AsyncMutex<Option<Timestamp>>>,
}

#[derive(Default)]
struct WorkOnRow {
    /// The number of live [`RowInWork`]s.
    count: u32,
    has_new_steps: bool,
}

/// A row on which this process works. If the wall clock steps, the lease of the row may seem to
/// have ended although the work continues.
pub(super) struct RowInWork {
    id: DefectId,
    process_state: ProcessState,
}

impl ProcessState {
    /// Marks that this process works on a row, until the returned value is dropped.
    pub(super) fn begin_work(&self, id: DefectId) -> RowInWork {
        self.rows_in_work.lock().entry(id).or_default().count += 1;
        RowInWork { id, process_state: self.clone() }
    }

    pub(super) fn is_in_work(&self, id: DefectId) -> bool {
        self.rows_in_work.lock().contains_key(&id)
    }

    pub(super) fn rows_in_work(&self) -> Vec<DefectId> {
        self.rows_in_work.lock().keys().copied().collect()
    }

    /// Calls `on_step` if the wall clock stepped since the last call that succeeded. Only one call
    /// runs at a time, so that no work uses the new clock before `on_step` has ended. Returns
    /// whether the clock stepped.
    async fn check_clock<E>(
        &self,
        clock: &dyn Clock,
        on_step: impl AsyncFnOnce() -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut last_booted_at = self.booted_at.lock().await;
        let booted_at = clock.now().saturating_sub(clock.since_boot()).unwrap_or(Timestamp::MIN);
        let stepped = last_booted_at
            .is_some_and(|last| last.duration_since(booted_at).unsigned_abs() >= STEP_MIN);
        if stepped {
            on_step().await?;
        }
        *last_booted_at = Some(booted_at);
        Ok(stepped)
    }
}

impl Dependencies {
    /// Restarts the waits of defects and of follow-up steps if the wall clock stepped, because the
    /// clock then no longer shows how long the waits have lasted. Returns whether the clock
    /// stepped.
    pub(super) async fn restart_waits_if_clock_stepped(&self) -> Result<bool, StoreError> {
        let restart = async || {
            tracing::warn!(
                "the system clock was changed: the waits of all defects in doubt start again"
            );
            self.store.restart_waits(self.clock.now(), self.config.current().longest_run_ms()).await
        };
        self.process_state.check_clock(&*self.clock, restart).await
    }
}

impl RowInWork {
    /// Lets the follow-up steps of the row begin as soon as all work on it has ended: a row in work
    /// is not due.
    pub(super) fn add_steps(&self, steps: &[FollowUpKind]) {
        if let Some(work) = self.process_state.rows_in_work.lock().get_mut(&self.id) {
            work.has_new_steps |= !steps.is_empty();
        }
    }
}

impl Drop for RowInWork {
    fn drop(&mut self) {
        let mut rows = self.process_state.rows_in_work.lock();
        let Entry::Occupied(mut row) = rows.entry(self.id) else { return };
        row.get_mut().count -= 1;
        if row.get().count == 0 && row.remove().has_new_steps {
            self.process_state.follow_up_added.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// The time of the wall clock and the time since boot, both in seconds.
    struct FakeClock(Mutex<(i64, u64)>);

    impl Clock for FakeClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.lock().0).unwrap()
        }

        fn since_boot(&self) -> Duration {
            Duration::from_secs(self.0.lock().1)
        }
    }

    #[test]
    fn a_row_is_in_work_until_the_last_work_on_it_has_ended() {
        let process = ProcessState::default();
        let id = DefectId(uuid::Uuid::from_u128(1));
        let (first, second) = (process.begin_work(id), process.begin_work(id));
        first.add_steps(&[FollowUpKind::Comment]);
        second.add_steps(&[]);
        drop(first);
        let notified = || process.follow_up_added.notified().now_or_never().is_some();
        assert!(process.is_in_work(id) && !notified());
        drop(second);
        assert!(notified(), "the steps must begin");
        assert!(!process.is_in_work(id) && process.rows_in_work().is_empty());
    }

    #[tokio::test]
    async fn a_step_of_the_wall_clock_is_reported_until_it_is_handled() {
        let (process, fake_clock) = (ProcessState::default(), FakeClock(Mutex::new((1_000, 50))));
        for (wall, boot, stepped) in [
            (1_000, 50, false),
            (1_100, 150, false),
            (5_000, 151, true),
            (5_009, 160, false),
            (900, 161, true),
        ] {
            *fake_clock.0.lock() = (wall, boot);
            if stepped {
                let failed =
                    process.check_clock(&fake_clock, async || Err("the disk is full")).await;
                assert!(failed.is_err(), "{wall}");
            }
            let checked = process.check_clock(&fake_clock, async || Ok::<_, ()>(())).await;
            assert_eq!(checked, Ok(stepped), "{wall}");
        }
    }
}
