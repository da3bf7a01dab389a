//! Calls a function that calls itself without end. The stack frames are small, so that the guest
//! reaches the host's limit before it reaches the end of its own stack.

use jackfield_test_guests::*;

struct RecursesEndlessly;

#[inline(never)]
fn recurse(n: u64) -> u64 {
    if std::hint::black_box(n) == u64::MAX { 0 } else { recurse(n + 1) ^ std::hint::black_box(n) }
}

impl Behaviour for RecursesEndlessly {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        Ok(defect(&marker, &recurse(0).to_string()))
    }
}

guest!(RecursesEndlessly);
