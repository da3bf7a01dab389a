//! Sends up to 1,000 reads, and ends at the first error. The title of the defect contains the
//! number of successful reads and, if a read failed, its error.

use jackfield_test_guests::*;

struct SendsManyReads;

impl Behaviour for SendsManyReads {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        for n in 0..1_000 {
            if let Err(error) = send(Method::Get, "/", None) {
                return Ok(defect(&marker, &format!("{n} calls, then {error:?}")));
            }
        }
        Ok(defect(&marker, "1000 calls"))
    }
}

guest!(SendsManyReads);
