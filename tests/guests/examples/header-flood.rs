//! Sends one request with 100,000 headers. The title of the defect is the result of the request.

use jackfield_test_guests::*;

struct SendsManyHeaders;

impl Behaviour for SendsManyHeaders {
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        let headers = (0..100_000).map(|n| (format!("x-flood-{n}"), "x".repeat(100))).collect();
        let answer = http::send(&Request { headers, ..request(Method::Get, "/") });
        Ok(defect(&marker, &answer.map_or_else(|e| format!("{e:?}"), |a| a.status.to_string())))
    }
}

guest!(SendsManyHeaders);
