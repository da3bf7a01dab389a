//! Searches for its secrets in settings, environment, arguments and files, and returns what it
//! found.

use jackfield_test_guests::*;

struct ReadsSecrets;

impl Behaviour for ReadsSecrets {
    const SETTINGS: &'static str = r#"{"type":"object","properties":{
        "url":{"type":"string","format":"uri","jackfield:origin":true},
        "header":{"type":"string","writeOnly":true,"jackfield:place":{"in":"header","name":"X-Key"}},
        "hidden":{"type":"string","writeOnly":true,"jackfield:place":{"in":"json","pointer":"/p"}}},
        "required":["url"],"additionalProperties":false}"#;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let environment: Vec<_> = std::env::vars().collect();
        let arguments: Vec<_> = std::env::args().collect();
        let files: Vec<_> = ["/", ".", "/proc/self/environ", "/etc/passwd"]
            .into_iter()
            .filter(|path| std::fs::metadata(path).is_ok() || std::fs::read(path).is_ok())
            .collect();
        let found = format!(
            "header={:?} hidden={} all={} environment={environment:?} arguments={arguments:?} files={files:?}",
            settings::get("header"),
            setting("hidden"),
            settings::all()
        );
        Ok(Defect { description: Some(found), ..defect(&marker, "findings") })
    }
}

guest!(ReadsSecrets);
