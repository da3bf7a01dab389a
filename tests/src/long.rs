//! How long some tests run: rounds, generated inputs and durations. They are larger if the
//! environment variable `TEST_LONG` is set.

use std::time::Duration;

/// Returns whether `TEST_LONG` is set.
#[must_use]
pub fn is_long() -> bool {
    std::env::var_os("TEST_LONG").is_some()
}

/// Returns the number of rounds of a test.
#[must_use]
pub fn rounds() -> u32 {
    if is_long() { 200 } else { 20 }
}

/// Returns the number of generated inputs for a test that needs about a second for each input.
#[must_use]
pub fn cases() -> u32 {
    if is_long() { 300 } else { 16 }
}

/// Returns the duration of the fuzz test of the admin API.
#[must_use]
pub fn api_fuzz_time() -> Duration {
    Duration::from_secs(if is_long() { 1_800 } else { 60 })
}

/// Returns the duration of the soak test's warm-up, and of its measurement.
#[must_use]
pub fn soak_times() -> (Duration, Duration) {
    let (warm_up, measured) = if is_long() { (75, 1_800) } else { (20, 40) };
    (Duration::from_secs(warm_up), Duration::from_secs(measured))
}
