//! Sends one request, which the settings describe, then logs and returns the result. The key of the
//! defect is the status or the kind of error. The description contains the headers and the body.
//! The settings `base`, `query` and `body-kind` concern the interface `http` only.

#[path = "calls/request.rs"]
mod request;
#[path = "calls/wasi.rs"]
mod wasi;

use jackfield_test_guests::*;
use request::{body, effect, empty_test, headers, method, outcome, query, with_placeholder};

struct Calls;

impl Behaviour for Calls {
    const SETTINGS: &'static str = include_str!("calls/settings.json");

    fn count(_project: String) -> Result<Counts, Error> {
        Err(error(ErrorCode::Internal, Self::create(empty_test(), String::new())?.key))
    }

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        let request = Request {
            method: method(&setting("method")),
            effect: effect(&setting("effect")),
            base: settings::get("base"),
            url: with_placeholder(&setting("target")),
            query: query(&setting("query")),
            headers: headers(&setting("headers")),
            body: settings::get("body").map(|text| body(&setting("body-kind"), &text)),
        };
        let via_wasi = setting("via") == "wasi:http";
        let result = if via_wasi { wasi::send(&request) } else { http::send(&request) };
        let (key, text) = outcome(result);
        log::log(log::Level::Info, &text);
        println!("{text}");
        Ok(Defect { description: Some(text), ..defect(&key, "what the guest received") })
    }
}

guest!(Calls);
