//! A journal in memory: it accepts each write, because no row waits for it. The order of the writes
//! of a run is checked by egress, as in the server.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::domain::{Journal, Marker, NotJournaled};

/// The journal of one call.
pub(in crate::app) struct MemoryJournal {
    marker: Marker,
    /// Whether the first write that was sent has the marker; absent before it.
    has_marker: Mutex<Option<bool>>,
}

impl MemoryJournal {
    pub(in crate::app) fn new(marker: Marker) -> Arc<Self> {
        Arc::new(Self { marker, has_marker: Mutex::default() })
    }

    /// A warning if the first write does not have the marker.
    pub(super) fn warning(&self) -> Option<String> {
        let lacks_marker = *self.has_marker.lock() == Some(false);
        lacks_marker.then(|| {
            "the first write does not contain the marker: a defect in doubt could not be found again"
                .to_owned()
        })
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    fn marker(&self) -> &Marker {
        &self.marker
    }

    async fn mark_sending(&self, has_marker: bool) -> Result<(), NotJournaled> {
        self.has_marker.lock().get_or_insert(has_marker);
        Ok(())
    }

    fn may_send(&self) -> bool {
        true
    }

    async fn unmark(&self) {
        *self.has_marker.lock() = None;
    }
}
