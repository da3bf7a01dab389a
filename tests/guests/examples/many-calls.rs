//! Sends 1,000 reads. The title of the defect says how many succeeded, and which error came then.

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
