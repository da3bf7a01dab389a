//! An honest guest for the API of Redmine. It sends one read, and then creates an issue of 6 MiB.
//! Jackfield needs several system calls to send such a large request.

use jackfield_test_guests::*;

struct CreatesLargeIssue;

/// The size of the text in the issue's description.
const TEXT_BYTES: usize = 6 << 20;

impl Behaviour for CreatesLargeIssue {
    const SETTINGS: &'static str = r#"{"type":"object","properties":{
        "url":{"type":"string","format":"uri","jackfield:origin":true},
        "project":{"type":"string"},
        "api-key":{"type":"string","writeOnly":true,
            "jackfield:place":{"in":"header","name":"X-Redmine-API-Key"}}
        },"required":["url","project","api-key"],"additionalProperties":false}"#;

    fn create(test: FailedTest, marker: String) -> Result<Defect, Error> {
        send(Method::Get, "/users/current.json", None).map_err(to_connector_error)?;
        let (project, id) = (setting("project"), test.test_execution_id);
        let text = "x".repeat(TEXT_BYTES);
        let body = format!(
            r#"{{"issue":{{"project_id":"{project}","subject":"large","description":"{marker} {id} {text}"}}}}"#
        );
        let request =
            Request { body: Some(Body::Json(body)), ..request(Method::Post, "/issues.json") };
        let answer = http::send(&request).map_err(to_connector_error)?;
        let id =
            first_id(&answer).ok_or(error(ErrorCode::Unavailable, format!("{}", answer.status)))?;
        Ok(defect(&id, "large"))
    }

    fn find(marker: String) -> Result<Vec<Defect>, Error> {
        let project = setting("project");
        let url = format!("/issues.json?project_id={project}&status_id=*&description=~{marker}");
        let answer = send(Method::Get, &url, None).map_err(to_connector_error)?;
        Ok(first_id(&answer).map(|id| defect(&id, "large")).into_iter().collect())
    }
}

guest!(CreatesLargeIssue);
