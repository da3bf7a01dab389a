//! Begins many request bodies through wasi:http and finishes none.

use jackfield_test_guests::*;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, Method, OutgoingRequest, Scheme};

struct ManyBodies;

impl Behaviour for ManyBodies {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let authority = setting("url").replace("http://", "");
        let (mut open, chunk) = (Vec::new(), vec![b'x'; 4096]);
        for n in 0..300 {
            let request = OutgoingRequest::new(Fields::new());
            let _ = request.set_method(&Method::Post);
            let _ = request.set_path_with_query(Some("/"));
            let _ = request.set_scheme(Some(&Scheme::Http));
            let _ = request.set_authority(Some(authority.trim_end_matches('/')));
            let body = request.body().unwrap();
            let answer = handle(request, None).unwrap();
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

guest!(ManyBodies);
