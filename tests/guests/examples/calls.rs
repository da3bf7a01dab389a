//! Sends one request that the settings describe. Then logs the result, and returns it as a defect.
//! The key of the defect is the status of the answer or the kind of the error. The description is
//! the address, the headers and the body of the answer, or the reason of the error. A request
//! through wasi:http does not use the settings `base` and `query`, and has no body if `body-kind`
//! is not `bytes`.

#[path = "calls/request.rs"]
mod request;
#[path = "calls/wasi.rs"]
mod wasi;

use jackfield_test_guests::*;
use request::{
    describe_result, empty_test, make_body, parse_effect, parse_headers, parse_method, parse_pairs,
    with_placeholder,
};

struct SendsConfiguredRequest;

impl Behaviour for SendsConfiguredRequest {
    const SETTINGS: &'static str = include_str!("calls/settings.json");

    /// Sends the request too, and returns the key of the defect as an error.
    fn count(_project: String) -> Result<Counts, Error> {
        Err(error(ErrorCode::Internal, Self::create(empty_test(), String::new())?.key))
    }

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        let request = Request {
            method: parse_method(&setting("method")),
            effect: parse_effect(&setting("effect")),
            base: settings::get("base"),
            url: with_placeholder(&setting("target")),
            query: parse_pairs(&setting("query")),
            headers: parse_headers(&setting("headers")),
            body: settings::get("body").map(|text| make_body(&setting("body-kind"), &text)),
        };
        let via_wasi = setting("via") == "wasi:http";
        let result = if via_wasi { wasi::send(&request) } else { http::send(&request) };
        let (key, text) = describe_result(result);
        log::log(log::Level::Info, &text);
        println!("{text}");
        Ok(Defect { description: Some(text), ..defect(&key, "what the guest received") })
    }
}

guest!(SendsConfiguredRequest);
