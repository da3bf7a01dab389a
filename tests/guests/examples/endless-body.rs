//! Writes the body of a request through wasi:http and never ends it. If the host refuses to take
//! more bytes, the title of the defect contains the reason.

use jackfield_test_guests::*;

struct WritesEndlessBody;

impl Behaviour for WritesEndlessBody {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let (answer, body) = start_post(&setting("url"));
        let stream = body.write().unwrap();
        let mut written = 0u64;
        let why = loop {
            match stream.blocking_write_and_flush(&[b'x'; 4096]) {
                Ok(()) => written += 4096,
                Err(why) => break why,
            }
        };
        answer.subscribe().block();
        let error = answer.get().map(|result| result.map(|result| result.err()));
        Ok(defect(&marker, &format!("{written} bytes, then {why:?}: {error:?}")))
    }
}

guest!(WritesEndlessBody);
