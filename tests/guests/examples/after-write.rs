//! Creates an issue, and then does not return the defect. Instead, `create` traps, loops or returns
//! an error. The setting `then` chooses one of the three.

use jackfield_test_guests::*;

struct FailsAfterWrite;

impl Behaviour for FailsAfterWrite {
    const SETTINGS: &'static str = r#"{"type":"object","properties":{"url":{"type":"string","jackfield:origin":true},"then":{"enum":["trap","spin","reject"]}},"required":["url","then"]}"#;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let body = format!(r#"{{"issue":{{"description":"{marker}"}}}}"#);
        send(Method::Post, "/issues.json", Some(&body)).map_err(to_connector_error)?;
        match setting("then").as_str() {
            "trap" => std::process::abort(),
            "spin" => loop {
                std::hint::black_box(0);
            },
            _ => Err(error(ErrorCode::Rejected, "rejected after the write".to_owned())),
        }
    }

    fn find(marker: String) -> Result<Vec<Defect>, Error> {
        let url = format!("/issues.json?description=~{marker}");
        let answer = send(Method::Get, &url, None).map_err(to_connector_error)?;
        Ok(first_id(&answer).map(|id| defect(&id, "found")).into_iter().collect())
    }
}

guest!(FailsAfterWrite);
