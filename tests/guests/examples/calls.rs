//! Sends the one request that its settings describe, logs and returns what it saw: the defect's key is the
//! status or the kind of error, its description the headers and the body.

use jackfield_test_guests::*;

#[path = "calls/wasi.rs"]
mod wasi;

struct Calls;

impl Behaviour for Calls {
    const SETTINGS: &'static str = include_str!("calls/settings.json");

    fn count(_project: String) -> Result<Counts, Error> {
        Err(Error::Internal(Self::create(nobody(), String::new())?.key))
    }

    fn create(_test: FailedTest, _marker: String) -> Result<Defect, Error> {
        let request = Request {
            method: method(&setting("method")),
            effect: effect(&setting("effect")),
            url: setting("target"),
            headers: lines(&setting("headers")),
            body: settings::get("body").map(String::into_bytes),
        };
        let via_wasi = setting("via") == "wasi:http";
        let came = if via_wasi { wasi::send(&request) } else { http::send(&request) };
        let (key, seen) = seen(came);
        log::log(log::Level::Info, &seen);
        println!("{seen}");
        Ok(Defect { description: Some(seen), ..defect(&key, "what the guest saw") })
    }
}

#[path = "calls/request.rs"]
mod request;
use request::{effect, lines, method, nobody, seen};

guest!(Calls);
