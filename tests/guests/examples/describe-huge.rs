//! A guest whose `describe` returns a manifest with a name of 10 MiB.

use jackfield_test_guests::*;

struct ReturnsHugeManifest;

impl Behaviour for ReturnsHugeManifest {
    fn describe() -> Manifest {
        Manifest {
            name: "x".repeat(10 << 20),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            homepage: None,
            settings: NO_SETTINGS.to_owned(),
            index_delay_seconds: Some(0),
        }
    }
}

guest!(ReturnsHugeManifest);
