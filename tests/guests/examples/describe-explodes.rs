//! A guest with a short schema that grows exponentially when its references are followed, because
//! each definition refers to the next definition twice.

use jackfield_test_guests::*;

struct DescribeExplodes;

impl Behaviour for DescribeExplodes {
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

guest!(DescribeExplodes);
