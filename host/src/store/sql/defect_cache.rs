//! A cache of created defects in memory, so that a repeated click is answered without reading the
//! database.
//!
//! The cache is used only if no other process changes the database.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::domain::{ConnectionId, Defect, DefectId, FailedTest, FailedTestKey};

/// Maximum number of cached defects. When it is reached, the next defect replaces all others.
const CACHED_DEFECTS_MAX: usize = 4_096;

#[derive(Default)]
pub(super) struct DefectCache {
    state: Mutex<CacheState>,
}

#[derive(Default)]
struct CacheState {
    defects: HashMap<FailedTestKey, (DefectId, Defect)>,
    epoch: Epoch,
}

/// The number of an epoch. Each call of [`DefectCache::clear`] begins a new epoch. A defect that
/// was read in an earlier epoch may be outdated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl DefectCache {
    pub(super) fn get(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Option<(DefectId, Defect)> {
        self.state.lock().defects.get(&test.key_in(connection)).cloned()
    }

    /// Returns the current epoch. Call this before reading the defect that is then passed to
    /// [`Self::insert`].
    pub(super) fn epoch(&self) -> Epoch {
        self.state.lock().epoch
    }

    /// Adds a defect that was read in `epoch`. Does nothing if the cache was cleared after `epoch`
    /// began.
    pub(super) fn insert(
        &self,
        epoch: Epoch,
        connection: ConnectionId,
        test: &FailedTest,
        created: &(DefectId, Defect),
    ) {
        let mut state = self.state.lock();
        if state.epoch != epoch {
            return;
        }
        if state.defects.len() >= CACHED_DEFECTS_MAX {
            state.defects.clear();
        }
        state.defects.insert(test.key_in(connection), created.clone());
    }

    /// Removes all defects and starts a new epoch. Call this after each commit that may make a
    /// cached defect outdated.
    pub(super) fn clear(&self) {
        let mut state = self.state.lock();
        state.epoch = Epoch(state.epoch.0 + 1);
        state.defects.clear();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_defect_that_was_read_before_a_clear_is_not_inserted_after_it() {
        let cache = DefectCache::default();
        let connection = ConnectionId(Uuid::from_u128(1));
        let test = FailedTest::new(Uuid::from_u128(2), Uuid::from_u128(3), None, None);
        let defect = Defect {
            key: "QA-1".to_owned(),
            title: String::new(),
            link: "https://t.example/1".to_owned(),
            status: None,
            priority: None,
            description: None,
        };
        let created = (DefectId(Uuid::from_u128(4)), defect);
        assert_eq!(cache.get(connection, &test), None);
        let before = cache.epoch();
        cache.clear();
        cache.insert(before, connection, &test, &created);
        assert_eq!(cache.get(connection, &test), None);
        cache.insert(cache.epoch(), connection, &test, &created);
        assert_eq!(cache.get(connection, &test), Some(created));
        cache.clear();
        assert_eq!(cache.get(connection, &test), None);
    }
}
