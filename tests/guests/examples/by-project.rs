//! A guest for a tracker that searches only in one project. The setting `project` names that
//! project.

use jackfield_test_guests::*;

struct SearchesOneProject;

impl Behaviour for SearchesOneProject {
    const SETTINGS: &'static str = r#"{"type":"object","properties":{"url":{"type":"string","jackfield:origin":true},"project":{"type":"string"}},"required":["url","project"]}"#;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let url = format!("/{}/issues", setting("project"));
        let answer = send(Method::Post, &url, Some(&marker)).map_err(to_connector_error)?;
        let id = first_id(&answer);
        let id = id.ok_or(error(ErrorCode::Unavailable, format!("answered {}", answer.status)))?;
        Ok(defect(&id, "created"))
    }

    fn find(marker: String) -> Result<Vec<Defect>, Error> {
        let url = format!("/{}/search?{marker}", setting("project"));
        let answer = send(Method::Get, &url, None).map_err(to_connector_error)?;
        Ok(first_id(&answer).map(|id| defect(&id, "found")).into_iter().collect())
    }
}

guest!(SearchesOneProject);
