//! Asks for more from build to build: 2 another origin, 3 another place for its secret, 4 one more
//! setting; 5 asks for no secret. Every other build asks for what the first does.

use jackfield_test_guests::*;

struct AsksMore;

const URL: &str = r#""url":{"type":"string","format":"uri","jackfield:origin":true}"#;
const ORIGIN: &str = r#","mirror":{"type":"string","format":"uri","jackfield:origin":true,
    "const":"http://mirror.test:8080"}"#;
const HEADER: &str = r#","key":{"type":"string","writeOnly":true,
    "jackfield:place":{"in":"header","name":"X-Key","origin":"url"}}"#;
const BEARER: &str = r#","key":{"type":"string","writeOnly":true,
    "jackfield:place":{"in":"bearer","origin":"url"}}"#;
const TEAM: &str = r#","team":{"type":"string","minLength":1}"#;

impl Behaviour for AsksMore {
    fn describe() -> Manifest {
        let (more, required) = match build() {
            2 => (format!("{HEADER}{ORIGIN}"), r#""url""#),
            3 => (BEARER.to_owned(), r#""url""#),
            4 => (format!("{HEADER}{TEAM}"), r#""url","team""#),
            5 => (String::new(), r#""url""#),
            _ => (HEADER.to_owned(), r#""url""#),
        };
        let settings = format!(
            r#"{{"type":"object","properties":{{{URL}{more}}},"required":[{required}],"additionalProperties":false}}"#
        );
        Manifest { settings, ..<Plain as Behaviour>::describe() }
    }

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        let url = format!("{}/issues.json", setting("url"));
        let answer = send(Method::Post, &url, Some("{}")).map_err(failed)?;
        let id = id_in(&answer.body).ok_or(Error::Unavailable(format!("{}", answer.status)))?;
        Ok(defect(&id, &format!("build {}", build())))
    }
}

/// What every other guest says of itself.
struct Plain;

impl Behaviour for Plain {}

guest!(AsksMore);
