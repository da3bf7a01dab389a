//! Returns a defect at once, without a request to a tracker. The title of the defect contains the
//! build number.

use jackfield_test_guests::*;

struct AnswersInstantly;

impl Behaviour for AnswersInstantly {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        Ok(defect(&marker, &format!("build {}", build_number())))
    }
}

guest!(AnswersInstantly);
