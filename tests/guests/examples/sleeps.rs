//! Sleeps for ten minutes, without a request.

use jackfield_test_guests::*;

struct Sleeps;

impl Behaviour for Sleeps {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        std::thread::sleep(std::time::Duration::from_secs(600));
        Ok(defect(&marker, "slept"))
    }
}

guest!(Sleeps);
