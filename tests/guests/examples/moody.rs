//! Asks the tracker for its mood and traps where it is bad.

use jackfield_test_guests::*;

struct Moody;

impl Behaviour for Moody {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let answer = send(Method::Get, "/mood", None).map_err(failed)?;
        assert_ne!(answer.body, b"bad");
        Ok(defect(&marker, "in a good mood"))
    }
}

guest!(Moody);
