//! Acquires 100,000 handles of the host, and releases none of them.

use jackfield_test_guests::*;
use wasip2::clocks::monotonic_clock::subscribe_duration;

struct AcquiresManyHandles;

impl Behaviour for AcquiresManyHandles {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let handles: Vec<_> =
            (0..100_000).map(|n| subscribe_duration(3_600_000_000_000 + n)).collect();
        Ok(defect(&marker, &format!("{} handles", handles.len())))
    }
}

guest!(AcquiresManyHandles);
