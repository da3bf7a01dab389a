//! An honest guest. `create` sends one POST request, and each of `find` and `count` sends one GET
//! request. The title of each defect contains the build number.

use jackfield_test_guests::*;

struct HonestGuest;

/// Makes the defect of the issue with this id.
fn issue_defect(id: &str) -> Defect {
    Defect {
        link: format!("{}/issues/{id}", setting("url")),
        ..defect(id, &format!("build {}", build_number()))
    }
}

impl Behaviour for HonestGuest {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let issue_json = format!(r#"{{"issue":{{"description":"{marker}"}}}}"#);
        let answer =
            send(Method::Post, "/issues.json", Some(&issue_json)).map_err(to_connector_error)?;
        match (answer.status, first_id(&answer)) {
            (200..300, Some(id)) => Ok(issue_defect(&id)),
            (401 | 403, _) => Err(error(
                ErrorCode::Unauthorized,
                "the tracker refused the credentials".to_owned(),
            )),
            (400..500, _) => {
                Err(error(ErrorCode::Rejected, String::from_utf8_lossy(body(&answer))))
            }
            (status, _) => {
                Err(error(ErrorCode::Unavailable, format!("the tracker answered {status}")))
            }
        }
    }

    fn find(marker: String) -> Result<Vec<Defect>, Error> {
        let url = format!("/issues.json?description=~{marker}");
        let answer = send(Method::Get, &url, None).map_err(to_connector_error)?;
        match answer.status {
            200 => Ok(first_id(&answer).map(|id| issue_defect(&id)).into_iter().collect()),
            status => Err(error(ErrorCode::Unavailable, format!("the tracker answered {status}"))),
        }
    }

    fn count(_project: String) -> Result<Counts, Error> {
        let answer = send(Method::Get, "/counts", None).map_err(to_connector_error)?;
        let open = String::from_utf8_lossy(body(&answer)).trim().parse();
        let open = open.map_err(|_| {
            error(ErrorCode::Unavailable, "the tracker returned no number".to_owned())
        })?;
        Ok(Counts { open, closed: 0, critical: 0, moderate: 0, critical_link: None })
    }
}

guest!(HonestGuest);
