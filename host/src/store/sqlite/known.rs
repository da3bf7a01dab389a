//! Created defects that were asked for lately, in memory: what makes the answer to a repeat cheap.
//!
//! Sound because one process writes the file: every change of a created row passes [`Known::forget`]. Holds
//! nothing that the file does not say.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{ConnectionId, Defect, DefectId, FailedTest};

/// Defects remembered at most.
const KNOWN_MAX: usize = 4_096;

type Key = (ConnectionId, String, String, String);

/// The defects, by failed test.
#[derive(Default)]
pub(super) struct Known {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    defects: HashMap<Key, (DefectId, Defect)>,
    /// How often everything was forgotten.
    era: u64,
}

/// When a reading of the file began; what was read is remembered only if nothing changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Era(u64);

impl Known {
    /// The defect, or the era in which the file is read for it.
    pub(super) fn get(
        &self,
        connection: ConnectionId,
        test: &FailedTest,
    ) -> Result<(DefectId, Defect), Era> {
        let state = self.state();
        state.defects.get(&key(connection, test)).cloned().ok_or(Era(state.era))
    }

    /// Remembers what the file said in that era.
    pub(super) fn remember(
        &self,
        era: Era,
        connection: ConnectionId,
        test: &FailedTest,
        known: &(DefectId, Defect),
    ) {
        let mut state = self.state();
        if state.era != era.0 {
            return;
        }
        if state.defects.len() >= KNOWN_MAX {
            state.defects.clear();
        }
        state.defects.insert(key(connection, test), known.clone());
    }

    /// Forgets everything; called once a change of a created row is committed.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.era += 1;
        state.defects.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(connection: ConnectionId, test: &FailedTest) -> Key {
    let (execution, case, variation) = test.key();
    (connection, execution, case, variation.to_owned())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let known = Known::default();
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
        let value = (DefectId(Uuid::from_u128(4)), defect);
        let before = known.get(connection, &test).unwrap_err();
        known.forget();
        known.remember(before, connection, &test, &value);
        let era = known.get(connection, &test).unwrap_err();
        known.remember(era, connection, &test, &value);
        assert_eq!(known.get(connection, &test), Ok(value));
        known.forget();
        assert!(known.get(connection, &test).is_err());
    }
}
