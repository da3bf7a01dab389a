//! Writes a request body without end through wasi:http.

use jackfield_test_guests::*;

struct EndlessBody;

impl Behaviour for EndlessBody {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let (answer, body) = begin_post(&setting("url"));
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

guest!(EndlessBody);
