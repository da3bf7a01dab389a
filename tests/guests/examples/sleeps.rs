//! A guest whose `create` sleeps for ten minutes, and sends no request.

use jackfield_test_guests::*;

struct SleepsInCreate;

impl Behaviour for SleepsInCreate {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        std::thread::sleep(std::time::Duration::from_secs(600));
        Ok(defect(&marker, "slept"))
    }
}

guest!(SleepsInCreate);
