//! An honest guest for a tracker that has no search. So its manifest has no index delay.

use jackfield_test_guests::*;

struct HasNoSearch;

impl Behaviour for HasNoSearch {
    fn describe() -> Manifest {
        Manifest { index_delay_seconds: None, ..manifest(Self::SETTINGS.to_owned()) }
    }

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let answer =
            send(Method::Post, "/issues.json", Some(&marker)).map_err(to_connector_error)?;
        let id = first_id(&answer).ok_or(error(ErrorCode::Unavailable, "no id".to_owned()))?;
        Ok(defect(&id, "created"))
    }

    fn find(_marker: String) -> Result<Vec<Defect>, Error> {
        Err(error(ErrorCode::Unsupported, "this tracker has no search".to_owned()))
    }
}

guest!(HasNoSearch);
