//! The one place that looks again and again, for things that announce themselves nowhere.

use std::time::{Duration, Instant};

/// Asks every 20 ms until there is an answer; fails the test when `seconds` have passed without one.
///
/// # Panics
/// Names what was waited for.
#[track_caller]
pub fn until<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {seconds} s in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
