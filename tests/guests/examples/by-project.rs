//! An honest guest for a tracker whose search covers one project, named by the setting `project`.

use jackfield_test_guests::*;

struct ByProject;

impl Behaviour for ByProject {
    const SETTINGS: &'static str = r#"{"type":"object","properties":{"url":{"type":"string","jackfield:origin":true},"project":{"type":"string"}},"required":["url","project"]}"#;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let url = format!("/{}/issues", setting("project"));
        let answer = send(Method::Post, &url, Some(&marker)).map_err(connector_error)?;
        let id = id_in(&answer);
        let id = id.ok_or(error(ErrorCode::Unavailable, format!("answered {}", answer.status)))?;
        Ok(defect(&id, "created"))
    }

    fn find(marker: String) -> Result<Vec<Defect>, Error> {
        let url = format!("/{}/search?{marker}", setting("project"));
        let answer = send(Method::Get, &url, None).map_err(connector_error)?;
        Ok(id_in(&answer).map(|id| defect(&id, "found")).into_iter().collect())
    }
}

guest!(ByProject);
