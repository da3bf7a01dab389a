//! Writes a request body that never ends, through wasi:http.

use jackfield_test_guests::*;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, Method, OutgoingRequest, Scheme};

struct EndlessBody;

impl Behaviour for EndlessBody {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let request = OutgoingRequest::new(Fields::new());
        let authority = setting("url").replace("http://", "");
        let _ = request.set_method(&Method::Post);
        let _ = request.set_path_with_query(Some("/"));
        let _ = request.set_scheme(Some(&Scheme::Http));
        let _ = request.set_authority(Some(authority.trim_end_matches('/')));
        let body = request.body().unwrap();
        let answer = handle(request, None).unwrap();
        let stream = body.write().unwrap();
        let mut written = 0u64;
        let why = loop {
            match stream.blocking_write_and_flush(&[b'x'; 4096]) {
                Ok(()) => written += 4096,
                Err(why) => break why,
            }
        };
        answer.subscribe().block();
        let told = answer.get().map(|came| came.map(|came| came.err()));
        Ok(defect(&marker, &format!("{written} bytes, then {why:?}: {told:?}")))
    }
}

guest!(EndlessBody);
