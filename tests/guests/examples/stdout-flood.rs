//! Prints 2 MB to stdout, and 2,000 short lines to stderr. The lines of stdout contain escape
//! sequences of terminals.

use jackfield_test_guests::*;

struct PrintsManyLines;

impl Behaviour for PrintsManyLines {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        for n in 0..2_000 {
            println!("out {n} \u{1b}[31m{}", "z".repeat(1_000));
            eprintln!("err {n}");
        }
        Ok(defect(&marker, "printed"))
    }
}

guest!(PrintsManyLines);
