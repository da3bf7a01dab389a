//! A journal in memory: it accepts each write, because no row waits for it. The order of the writes
//! of a run is checked by egress, as in the server.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::domain::{FirstWrite, Journal, Marker, NotJournaled};

/// The journal of one call.
pub struct MemoryJournal {
    marker: Marker,
    first: Mutex<FirstWrite>,
}

impl MemoryJournal {
    /// Starts without a write.
    #[must_use]
    pub fn new(marker: Marker) -> Arc<Self> {
        Arc::new(Self { marker, first: Mutex::default() })
    }

    /// A warning if the first write does not have the marker.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.first.lock().warning()
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    fn marker(&self) -> &Marker {
        &self.marker
    }

    async fn mark_sending(&self, has_marker: bool) -> Result<(), NotJournaled> {
        self.first.lock().mark(has_marker);
        Ok(())
    }

    fn may_send(&self) -> bool {
        true
    }

    async fn unmark(&self) {
        self.first.lock().unmark();
    }
}
