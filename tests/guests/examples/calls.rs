//! Sends the one request that its settings describe, then logs and returns the result. The key of
//! the defect is the status or the kind of error. The description contains the headers and the
//! body.

#[path = "calls/request.rs"]
mod request;
#[path = "calls/wasi.rs"]
mod wasi;

use jackfield_test_guests::*;
use request::{effect, empty_test, headers, method, outcome, with_placeholder};

struct Calls;

impl Behaviour for Calls {
    const SETTINGS: &'static str = include_str!("calls/settings.json");

    fn count(_project: String) -> Result<Counts, Error> {
        Err(Error::Internal(Self::create(empty_test(), String::new())?.key))
    }

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        let request = Request {
            method: method(&setting("method")),
            effect: effect(&setting("effect")),
            url: with_placeholder(&setting("target")),
            headers: headers(&setting("headers")),
            body: settings::get("body").map(|text| with_placeholder(&text).into_bytes()),
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
