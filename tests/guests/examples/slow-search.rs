//! An honest guest for a tracker with an index delay. The manifest declares that the search finds a
//! new issue after at most five seconds.

use jackfield_test_guests::*;

struct HasIndexDelay;

impl Behaviour for HasIndexDelay {
    fn describe() -> Manifest {
        Manifest { index_delay_seconds: Some(5), ..manifest(Self::SETTINGS.to_owned()) }
    }

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let answer =
            send(Method::Post, "/issues.json", Some(&marker)).map_err(to_connector_error)?;
        let id = first_id(&answer).ok_or(error(ErrorCode::Unavailable, "no id".to_owned()))?;
        Ok(defect(&id, "created"))
    }

    fn find(marker: String) -> Result<Vec<Defect>, Error> {
        let answer =
            send(Method::Get, &format!("/search?{marker}"), None).map_err(to_connector_error)?;
        Ok(first_id(&answer).map(|id| defect(&id, "found")).into_iter().collect())
    }
}

guest!(HasIndexDelay);
