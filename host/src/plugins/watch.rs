//! Notifies the scanner when the plugins folder changes.
//!
//! Notifications only trigger a scan. Only the scan decides what has changed, and it also runs on a
//! timer.

use std::path::Path;
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Watches a folder until the returned watcher is dropped. Several notifications before the next
/// scan trigger only one scan. Returns `None` if the folder cannot be watched.
pub(super) fn watch_folder(folder: &Path, changed: Arc<Notify>) -> Option<RecommendedWatcher> {
    let on_event = move |event: notify::Result<notify::Event>| {
        // Read access is ignored: a scan reads the files, so each scan would trigger the next scan.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            changed.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher
        .inspect_err(|error| {
            tracing::warn!(%error, folder = %folder.display(),
                "cannot watch the plugins folder; it is scanned only once every `rescan_ms`");
        })
        .ok()
}
