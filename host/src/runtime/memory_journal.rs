//! Contains a journal in memory, for runs without a stored defect. It accepts each write, and never
//! stores anything durably.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::domain::{FirstWrite, Journal, Marker, NotJournaled};

/// The journal of one call.
pub struct MemoryJournal {
    marker: Marker,
    first_write: Mutex<FirstWrite>,
}

impl MemoryJournal {
    /// Creates a journal without writes.
    #[must_use]
    pub fn new(marker: Marker) -> Arc<Self> {
        Arc::new(Self { marker, first_write: Mutex::default() })
    }

    /// Returns a warning if the first write did not contain the marker.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.first_write.lock().warning()
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    fn marker(&self) -> &Marker {
        &self.marker
    }

    async fn mark_sending(&self, has_marker: bool) -> Result<(), NotJournaled> {
        self.first_write.lock().mark(has_marker);
        Ok(())
    }

    fn may_send(&self) -> bool {
        true
    }

    async fn unmark(&self) {
        self.first_write.lock().unmark();
    }
}
