//! Sends a thousand reads; its title tells after how many it was stopped, and by what.

use jackfield_test_guests::*;

struct ManyCalls;

impl Behaviour for ManyCalls {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        for n in 0..1_000 {
            if let Err(error) = send(Method::Get, "/", None) {
                return Ok(defect(&marker, &format!("{n} calls, then {error:?}")));
            }
        }
        Ok(defect(&marker, "1000 calls"))
    }
}

guest!(ManyCalls);
