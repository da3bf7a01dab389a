//! A classic histogram of durations. All histograms have the same buckets.

use std::sync::atomic::{AtomicU64, Ordering};

/// The upper bounds of the buckets, milliseconds. One more bucket has no bound.
pub(super) const BOUNDS_MS: [u64; 14] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 60_000, 120_000];

#[derive(Debug, Default)]
pub(super) struct Histogram {
    sum_ms: AtomicU64,
    /// The number of durations in each bucket, without those in smaller buckets.
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
}

impl Histogram {
    pub(super) fn observe(&self, ms: u64) {
        let index = BOUNDS_MS.iter().position(|bound| ms <= *bound);
        if let Some(bucket) = self.buckets.get(index.unwrap_or(BOUNDS_MS.len())) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn sum_s(&self) -> f64 {
        to_seconds(self.sum_ms.load(Ordering::Relaxed))
    }

    /// Returns the upper bound of each bucket in seconds, with the number of its durations.
    pub(super) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_MS.into_iter().map(to_seconds).chain([f64::INFINITY]);
        bounds.zip(self.buckets.iter().map(|count| count.load(Ordering::Relaxed))).collect()
    }
}

/// Up to 2⁵³ milliseconds, the result is the nearest `f64`.
pub(super) fn to_seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}
