//! A guest whose settings schema is short, but grows exponentially when its references are replaced
//! by their definitions: each of 40 definitions refers to the next definition twice.

use jackfield_test_guests::*;

struct ReturnsExplodingSchema;

impl Behaviour for ReturnsExplodingSchema {
    fn describe() -> Manifest {
        let mut definitions = Vec::new();
        for n in 0..40 {
            let next = format!(r##"{{"$ref":"#/$defs/d{}"}}"##, n + 1);
            definitions.push(format!(r#""d{n}":{{"anyOf":[{next},{next}]}}"#));
        }
        definitions.push(r#""d40":{"const":"never"}"#.to_owned());
        let settings = format!(
            r##"{{"type":"object","properties":{{"bomb":{{"$ref":"#/$defs/d0"}}}},"$defs":{{{}}}}}"##,
            definitions.join(",")
        );
        Manifest {
            name: "exploding schema".to_owned(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            homepage: None,
            settings,
            index_delay_seconds: Some(0),
        }
    }
}

guest!(ReturnsExplodingSchema);
