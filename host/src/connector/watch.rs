//! Wakes the registry when something happens in its folder. Only a wake-up, never a fact: what there
//! is, a scan finds out, and scans come by the clock too.

use std::path::Path;
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Watches a folder until the returned value is dropped. Any number of notices before the next scan
/// are one. `None` where the folder gives no notices; the clock alone then leads to scans.
pub(super) fn watch(folder: &Path, wake: Arc<Notify>) -> Option<RecommendedWatcher> {
    let notice = move |event: notify::Result<notify::Event>| {
        // Reading the files is an event too; waking for it would never end.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            wake.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(notice).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher
        .inspect_err(|error| {
            tracing::warn!(%error, folder = %folder.display(),
                "the folder gives no notices; it is read every `rescan_ms` instead");
        })
        .ok()
}
