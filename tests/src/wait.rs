//! The usual polling loop of the tests.

use std::time::{Duration, Instant};

/// Calls `check` until it returns a value, with pauses of 20 ms between the calls.
///
/// # Panics
/// If `check` returns no value within `seconds`. The message contains `what`.
#[track_caller]
pub fn wait_for<T>(what: &str, seconds: u64, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < deadline, "timeout: waited {seconds} s for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
