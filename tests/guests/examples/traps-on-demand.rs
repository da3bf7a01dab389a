//! Reads `/health` from the tracker and traps if the answer is `bad`.

use jackfield_test_guests::*;

struct TrapsOnDemand;

impl Behaviour for TrapsOnDemand {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let answer = send(Method::Get, "/health", None).map_err(failed)?;
        assert_ne!(body(&answer), b"bad");
        Ok(defect(&marker, "did not trap"))
    }
}

guest!(TrapsOnDemand);
