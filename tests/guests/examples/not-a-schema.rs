//! A guest whose settings schema is not a valid JSON Schema.

use jackfield_test_guests::*;

struct NotASchema;

impl Behaviour for NotASchema {
    const SETTINGS: &'static str = r#"{"type":"objekt","properties":[1,2]}"#;
}

guest!(NotASchema);
