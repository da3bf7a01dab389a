//! A connector of which some builds have other settings than build 1. Build 2 also has a second
//! origin. Build 3 puts its secret at another place of the request. Build 4 also has a second
//! required setting. Build 5 has no secret. Build 8 has the second origin and the second required
//! setting. All other builds have the settings of build 1.

use jackfield_test_guests::*;

struct RequestsMoreGrants;

/// A part of the schema: the tracker's address.
const URL: &str = r#""url":{"type":"string","format":"uri","jackfield:origin":true}"#;
/// A part of the schema: a second origin, whose address is fixed.
const MIRROR: &str = r#","mirror":{"type":"string","format":"uri","jackfield:origin":true,
    "const":"http://mirror.test:8080"}"#;
/// A part of the schema: a text that some builds require.
const TEAM: &str = r#","team":{"type":"string","minLength":1}"#;

impl Behaviour for RequestsMoreGrants {
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
        let id = first_id(&answer.map_err(to_connector_error)?).unwrap_or_default();
        Ok(defect(&id, &format!("build {}", build_number())))
    }
}

guest!(RequestsMoreGrants);
