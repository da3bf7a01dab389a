//! Answers at once, without a tracker. The title of each defect names the build.

use jackfield_test_guests::*;

struct Instant;

impl Behaviour for Instant {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        Ok(defect(&marker, &format!("build {}", build_number())))
    }
}

guest!(Instant);
