//! A guest whose settings schema is not a valid JSON Schema.

use jackfield_test_guests::*;

struct ReturnsInvalidSchema;

impl Behaviour for ReturnsInvalidSchema {
    const SETTINGS: &'static str = r#"{"type":"objekt","properties":[1,2]}"#;
}

guest!(ReturnsInvalidSchema);
