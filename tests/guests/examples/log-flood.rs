//! Logs 2 MB. The first message contains escape sequences of terminals, and line breaks.

use jackfield_test_guests::*;

struct LogsManyLines;

impl Behaviour for LogsManyLines {
    const SETTINGS: &'static str = NO_SETTINGS;

    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        log::log(
            log::Level::Info,
            "first\u{1b}[2J\u{1b}]0;owned\u{7}\r\nERROR forged line\u{9b}31m",
        );
        for n in 0..2_000 {
            log::log(log::Level::Info, &format!("{n} {}", "y".repeat(1_000)));
        }
        Ok(defect(&marker, "logged"))
    }
}

guest!(LogsManyLines);
