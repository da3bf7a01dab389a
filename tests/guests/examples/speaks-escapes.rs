//! Puts escape sequences into the results and errors of `check` and `create`, into the log, and
//! into stdout and stderr. In build 2, the name of a query parameter also contains escape
//! sequences.

use jackfield_test_guests::*;

struct ReturnsEscapeSequences;

/// A text with dangerous characters: two sequences that begin with ESC, a carriage return and a
/// forged line, C1 control characters, a change of the text's direction, an invisible space, DEL,
/// and a line separator.
const ESCAPES: &str =
    "\u{1b}[2K\u{1b}]0;owned\u{7}\r\nforged line\u{9b}31m\u{85}\u{202e}\u{200b}\u{7f}\u{2028}";

impl Behaviour for ReturnsEscapeSequences {
    fn describe() -> Manifest {
        let name = if build_number() == 2 { r"x\u001b[1A\u009b2K" } else { "key" };
        manifest(format!(
            r#"{{"type":"object","properties":{{
            "url":{{"type":"string","format":"uri","jackfield:origin":true}},
            "succeeds":{{"type":"boolean"}},
            "user":{{"type":"string"}},
            "key":{{"type":"string","writeOnly":true,"jackfield:place":{{"in":"query","name":"{name}"}}}},
            "password":{{"type":"string","writeOnly":true,"jackfield:place":{{"in":"basic","user":"user"}}}}}},
            "required":["url"],"additionalProperties":false}}"#
        ))
    }

    fn check() -> Result<String, Error> {
        let result = format!("reached {ESCAPES}");
        if setting("succeeds") == "true" {
            Ok(result)
        } else {
            Err(error(ErrorCode::Rejected, result))
        }
    }

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        log::log(log::Level::Info, ESCAPES);
        println!("{ESCAPES}");
        eprintln!("{ESCAPES}");
        if setting("succeeds") != "true" {
            return Err(error(ErrorCode::Rejected, ESCAPES.to_owned()));
        }
        let text = Some(ESCAPES.to_owned());
        let (status, priority, description) = (text.clone(), text.clone(), text);
        Ok(Defect { status, priority, description, ..defect("K-1", ESCAPES) })
    }
}

guest!(ReturnsEscapeSequences);
