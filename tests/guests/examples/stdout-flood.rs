//! Prints 2 MB to stdout and stderr, with terminal escapes.

use jackfield_test_guests::*;

struct StdoutFlood;

impl Behaviour for StdoutFlood {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        for n in 0..2_000 {
            println!("out {n} \u{1b}[31m{}", "z".repeat(1_000));
            eprintln!("err {n}");
        }
        Ok(defect(&marker, "printed"))
    }
}

guest!(StdoutFlood);
