//! Sends up to 1,000 reads. The title of the defect contains the number of reads that succeeded,
//! and the error that followed.

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
