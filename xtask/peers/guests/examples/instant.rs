//! A connector that answers at once, without a request to a tracker.

use jackfield_test_guests::*;

struct Instant;

impl Behaviour for Instant {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        Ok(defect(&marker, "created without a tracker"))
    }
}

guest!(Instant);
