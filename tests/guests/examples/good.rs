//! An honest guest: creates with one POST, finds with one GET, counts with one GET. The title of
//! its defects names the build.

use jackfield_test_guests::*;

struct Good;

fn issue(id: &str) -> Defect {
    Defect {
        link: format!("{}/issues/{id}", setting("url")),
        ..defect(id, &format!("build {}", build()))
    }
}

impl Behaviour for Good {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let body = format!(r#"{{"issue":{{"description":"{marker}"}}}}"#);
        let answer = send(Method::Post, "/issues.json", Some(&body)).map_err(failed)?;
        match (answer.status, id_in(&answer.body)) {
            (200..300, Some(id)) => Ok(issue(&id)),
            (401 | 403, _) => {
                Err(Error::Unauthorized("the tracker refused the credentials".to_owned()))
            }
            (400..500, _) => {
                Err(Error::Rejected(String::from_utf8_lossy(&answer.body).into_owned()))
            }
            (status, _) => Err(Error::Unavailable(format!("the tracker answered {status}"))),
        }
    }

    fn find(marker: String) -> Result<Vec<Defect>, Error> {
        let url = format!("/issues.json?description=~{marker}");
        let answer = send(Method::Get, &url, None).map_err(failed)?;
        match answer.status {
            200 => Ok(id_in(&answer.body).map(|id| issue(&id)).into_iter().collect()),
            status => Err(Error::Unavailable(format!("the tracker answered {status}"))),
        }
    }

    fn count(_project: String) -> Result<Counts, Error> {
        let answer = send(Method::Get, "/counts", None).map_err(failed)?;
        let open = String::from_utf8_lossy(&answer.body).trim().parse();
        let open =
            open.map_err(|_| Error::Unavailable("the tracker returned no number".to_owned()))?;
        Ok(Counts { open, closed: 0, critical: 0, moderate: 0, critical_link: None })
    }
}

guest!(Good);
