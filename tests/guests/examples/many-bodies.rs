//! Starts up to 300 requests through wasi:http. Writes 2 MiB of each request's body, and ends none
//! of the bodies. Stops at the first error.

use jackfield_test_guests::*;

struct StartsManyBodies;

impl Behaviour for StartsManyBodies {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let (mut open, chunk) = (Vec::new(), vec![b'x'; 4096]);
        for n in 0..300 {
            let (answer, body) = start_post(&setting("url"));
            let stream = body.write().unwrap();
            if (0..512).any(|_| stream.blocking_write_and_flush(&chunk).is_err()) {
                answer.subscribe().block();
                let why = answer.get().map(|why| why.map(|why| why.err()));
                return Ok(defect(&marker, &format!("{n} bodies, then {why:?}")));
            }
            open.push((stream, body, answer));
        }
        Ok(defect(&marker, "300 bodies of 2 MiB"))
    }
}

guest!(StartsManyBodies);
