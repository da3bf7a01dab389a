//! Later builds request more than build 1. Build 2: another origin. Build 3: another place for its
//! secret. Build 4: another required setting. Build 5: no secret. Build 8: an origin and a setting.
//! All other builds request the same as build 1.

use jackfield_test_guests::*;

struct AsksMore;

const URL: &str = r#""url":{"type":"string","format":"uri","jackfield:origin":true}"#;
const MIRROR: &str = r#","mirror":{"type":"string","format":"uri","jackfield:origin":true,
    "const":"http://mirror.test:8080"}"#;
const TEAM: &str = r#","team":{"type":"string","minLength":1}"#;

impl Behaviour for AsksMore {
    fn describe() -> Manifest {
        let place = if build_number() == 3 { r#""bearer""# } else { r#""header","name":"X-Key""# };
        let key = format!(
            r#","key":{{"type":"string","writeOnly":true,"jackfield:place":{{"in":{place},"origin":"url"}}}}"#
        );
        let (more, required) = match build_number() {
            2 => (key + MIRROR, r#""url""#),
            4 => (key + TEAM, r#""url","team""#),
            5 => (String::new(), r#""url""#),
            8 => (key + MIRROR + TEAM, r#""url","team""#),
            _ => (key, r#""url""#),
        };
        manifest(format!(
            r#"{{"type":"object","properties":{{{URL}{more}}},"required":[{required}],"additionalProperties":false}}"#
        ))
    }

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        let answer = send(Method::Post, &(setting("url") + "/issues.json"), Some("{}"));
        let id = id_in(&answer.map_err(connector_error)?).unwrap_or_default();
        Ok(defect(&id, &format!("build {}", build_number())))
    }
}

guest!(AsksMore);
