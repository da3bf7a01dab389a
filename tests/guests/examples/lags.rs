//! Honest, on a tracker whose search lags: what was made is sure to be found after three seconds.

use jackfield_test_guests::*;

struct Lags;

impl Behaviour for Lags {
    fn describe() -> Manifest {
        Manifest {
            name: "lags".to_owned(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            homepage: None,
            settings: Self::SETTINGS.to_owned(),
            settle_seconds: 3,
        }
    }

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let answer = send(Method::Post, "/issues.json", Some(&marker)).map_err(failed)?;
        let id = id_in(&answer.body).ok_or(Error::Unavailable("no id".to_owned()))?;
        Ok(defect(&id, "made"))
    }

    fn find(marker: String) -> Result<Option<Defect>, Error> {
        let answer = send(Method::Get, &format!("/search?{marker}"), None).map_err(failed)?;
        Ok(id_in(&answer.body).map(|id| defect(&id, "found")))
    }
}

guest!(Lags);
