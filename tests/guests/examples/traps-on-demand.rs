//! A guest whose `create` requests `/health` from the tracker. If the answer begins with `bad`,
//! `create` panics. The message of the panic contains the answer without its `|` characters, so
//! that a test can hide a secret from the redaction of the answer. Build 2 panics in `describe`.

use jackfield_test_guests::*;

struct TrapsOnDemand;

impl Behaviour for TrapsOnDemand {
    const SETTINGS: &'static str = r#"{"type":"object","properties":{
        "url":{"type":"string","format":"uri","jackfield:origin":true},
        "key":{"type":"string","writeOnly":true,"jackfield:place":{"in":"query","name":"key"}}},
        "required":["url"],"additionalProperties":false}"#;

    fn describe() -> Manifest {
        assert_ne!(build_number(), 2, "build 2 does not describe itself");
        manifest(Self::SETTINGS.to_owned())
    }

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let answer = send(Method::Get, "/health?subject=a%20b&sig=0123", None)
            .map_err(to_connector_error)?;
        let text = String::from_utf8_lossy(body(&answer));
        assert!(!text.starts_with("bad"), "the tracker said {}", text.replace('|', ""));
        Ok(defect(&marker, "did not trap"))
    }
}

guest!(TrapsOnDemand);
