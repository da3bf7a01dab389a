//! The code that all test guests use: the bindings, a default for each export, and the build
//! number.
//!
//! A guest implements [`Behaviour`], overrides the functions that a test needs, and passes its type
//! to [`guest!`]. Some guests attack the host on purpose; the code in this file never does.

#[allow(missing_docs)]
pub mod bindings {
    wit_bindgen::generate!({
        world: "connector",
        path: "../../wit",
        pub_export_macro: true,
        default_bindings_module: "jackfield_test_guests::bindings",
    });
}

pub mod conforming;

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, FutureIncomingResponse, OutgoingBody, OutgoingRequest, Scheme};

pub use bindings::exports::jackfield::connector::plugin::{Choice, ChoicesPage, Manifest};
pub use bindings::jackfield::connector::http::{
    self, Body, Content, Effect, HttpError, Method, Part, Request, Response,
};
pub use bindings::jackfield::connector::log;
pub use bindings::jackfield::connector::model::{Counts, Defect, Error, ErrorCode, FailedTest};
pub use bindings::jackfield::connector::{report, settings, test_manager};

/// A settings schema with one setting, the tracker's address `url`.
pub const ONE_ORIGIN: &str = r#"{"type":"object","properties":{"url":{"type":"string","format":"uri","jackfield:origin":true}},"required":["url"],"additionalProperties":false}"#;

/// The settings schema of a connector that has no settings.
pub const NO_SETTINGS: &str = r#"{"type":"object","properties":{},"additionalProperties":false}"#;

/// A text that the tests find in the built file. `Guest::with_build` replaces the six digits of
/// this text, and so makes many versions of one built file.
static BUILD_MARK: &[u8; 22] = b"jackfield-build-000000";

/// Returns the build number, which is the six digits of [`BUILD_MARK`].
pub fn build_number() -> u32 {
    let mark = std::hint::black_box(BUILD_MARK);
    mark[16..].iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0'))
}

/// The exports of a connector.
pub trait Behaviour {
    /// The JSON Schema of the connector's settings.
    const SETTINGS: &'static str = ONE_ORIGIN;

    fn describe() -> Manifest {
        manifest(Self::SETTINGS.to_owned())
    }
    fn check() -> Result<String, Error> {
        Ok("nothing to check".to_owned())
    }
    fn choices(_setting: String, _search: String) -> Result<ChoicesPage, Error> {
        Ok(ChoicesPage { choices: Vec::new(), more: false })
    }
    fn create(_test: FailedTest, marker: String) -> Result<Defect, Error> {
        Ok(defect(&marker, "created without a tracker"))
    }
    fn find(_marker: String) -> Result<Vec<Defect>, Error> {
        Ok(Vec::new())
    }
    fn count(_project: String) -> Result<Counts, Error> {
        Ok(Counts {
            open: build_number(),
            closed: 0,
            critical: 0,
            moderate: 0,
            critical_link: None,
        })
    }
}

/// Exports a type that implements [`Behaviour`] as a connector.
#[macro_export]
macro_rules! guest {
    ($guest:ident) => {
        const _: () = {
            use $crate::bindings::exports::jackfield::connector::{defects, kpis, plugin};
            use $crate::*;
            impl plugin::Guest for $guest {
                fn describe() -> Manifest {
                    <$guest as Behaviour>::describe()
                }
                fn check() -> Result<String, Error> {
                    <$guest as Behaviour>::check()
                }
                fn choices(setting: String, search: String) -> Result<ChoicesPage, Error> {
                    <$guest as Behaviour>::choices(setting, search)
                }
            }
            impl defects::Guest for $guest {
                fn create(test: FailedTest, marker: String) -> Result<Defect, Error> {
                    <$guest as Behaviour>::create(test, marker)
                }
                fn find(marker: String) -> Result<Vec<Defect>, Error> {
                    <$guest as Behaviour>::find(marker)
                }
            }
            impl kpis::Guest for $guest {
                fn count(project: String) -> Result<Counts, Error> {
                    <$guest as Behaviour>::count(project)
                }
            }
    $crate::bindings::export!($guest with_types_in $crate::bindings);
        };
    };
}

pub fn manifest(settings: String) -> Manifest {
    Manifest {
        name: "test guest".to_owned(),
        version: format!("1.0.{}", build_number()),
        summary: "a connector for the tests".to_owned(),
        homepage: None,
        settings,
        index_delay_seconds: Some(0),
    }
}

/// Makes a defect with this key and this title. The link is made from the key.
pub fn defect(key: &str, title: &str) -> Defect {
    Defect {
        key: key.to_owned(),
        title: title.to_owned(),
        link: format!(
            "http://tracker.test/{}",
            key.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        ),
        status: None,
        priority: None,
        description: None,
    }
}

pub fn request(method: Method, url: &str) -> Request {
    let (query, headers) = (Vec::new(), Vec::new());
    Request { method, effect: None, base: None, url: url.to_owned(), query, headers, body: None }
}

/// Sends a request without headers.
pub fn send(method: Method, url: &str, body: Option<&str>) -> Result<Response, HttpError> {
    let body = body.map(|text| Body::Bytes(text.as_bytes().to_vec()));
    http::send(&Request { body, ..request(method, url) })
}

pub fn body(answer: &Response) -> &[u8] {
    answer.text.as_ref().map_or(&answer.bytes, |text| text.as_bytes())
}

/// Starts a POST request to the path `/` of `url` through wasi:http. The caller writes the body.
pub fn start_post(url: &str) -> (FutureIncomingResponse, OutgoingBody) {
    let request = OutgoingRequest::new(Fields::new());
    let authority = url.replace("http://", "");
    request.set_method(&wasip2::http::types::Method::Post).expect("the method is valid");
    request.set_path_with_query(Some("/")).expect("the path is valid");
    request.set_scheme(Some(&Scheme::Http)).expect("the scheme is valid");
    request.set_authority(Some(authority.trim_end_matches('/'))).expect("the authority is valid");
    let body = request.body().expect("the body is taken once");
    (handle(request, None).expect("the host accepts the request"), body)
}

/// Returns the first id in a tracker's answer: the digits after the first `"id":`.
pub fn first_id(answer: &Response) -> Option<String> {
    let text = String::from_utf8_lossy(body(answer));
    let digits = text.split_once("\"id\":")?.1;
    Some(digits.chars().take_while(char::is_ascii_digit).collect())
}

/// Makes an [`Error`] that names no setting and no wait.
pub fn error(code: ErrorCode, message: impl Into<String>) -> Error {
    Error { code, message: message.into(), setting: None, retry_after_seconds: None }
}

/// Converts an error of the interface `http` to an error that the connector can return.
pub fn to_connector_error(error: HttpError) -> Error {
    match error {
        HttpError::Unreachable(why) | HttpError::Interrupted(why) => {
            self::error(ErrorCode::Unavailable, why)
        }
        other => self::error(ErrorCode::Internal, format!("{other:?}")),
    }
}

/// Returns the text of a setting. If the setting has no value, the text is empty.
pub fn setting(key: &str) -> String {
    settings::get(key).unwrap_or_default()
}
