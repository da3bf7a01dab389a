//! Creates the errors of the contract, also from an answer that refuses a request.

use serde_json::Value;

use crate::bindings::jackfield::connector::http::{HttpError, Response};
use crate::bindings::jackfield::connector::model::{Error, ErrorCode};
use crate::request::{Tracker, items};

/// An error quotes at most this number of characters of a refusal that is not JSON.
const QUOTED_CHARS_MAX: usize = 300;
/// The sentence that each message about the status 404 contains. By this sentence,
/// [`Error::is_not_found`] recognises the status.
const NOT_FOUND_SENTENCE: &str =
    ". It does not exist, or the user of the credentials cannot see it";

impl Error {
    /// Creates an error that names no setting.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), setting: None, retry_after_seconds: None }
    }

    /// Creates an error that says what the tracker does not accept, or what does not exist in it.
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Rejected, message)
    }

    /// Whether the tracker answered with the status 404.
    pub fn is_not_found(&self) -> bool {
        self.code == ErrorCode::Rejected && self.message.contains(NOT_FOUND_SENTENCE)
    }

    /// Creates an error that says what the connector or the tracker cannot do.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unsupported, message)
    }

    /// Adds the name of the setting that the error is about.
    pub fn with_setting(self, setting: &str) -> Self {
        Self { setting: Some(setting.to_owned()), ..self }
    }
}

impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Unreachable(why) | HttpError::Interrupted(why) => {
                Self::new(ErrorCode::Unavailable, why)
            }
            HttpError::Denied(why) | HttpError::Limit(why) | HttpError::Invalid(why) => {
                Self::new(ErrorCode::Internal, why)
            }
        }
    }
}

/// Creates the error for an answer that refuses a request. The message contains the tracker's
/// reasons and, for the statuses 401, 403 and 404, what to check.
pub(crate) fn refusal_error(tracker: &Tracker, path: &str, response: &Response) -> Error {
    let Response { status, .. } = *response;
    let text = response.text.as_deref().unwrap_or_default().trim();
    let is_page = text.starts_with('<');
    let reasons = match serde_json::from_str::<Value>(text) {
        Ok(body) => body.pointer(tracker.reasons).and_then(join_reasons),
        Err(_) if is_page || text.is_empty() => None,
        Err(_) => Some(text.chars().take(QUOTED_CHARS_MAX).collect()),
    };
    let answered = match reasons {
        Some(reasons) => format!("{} answered {status} to {path}: {reasons}", tracker.name),
        None => format!("{} answered {status} to {path}", tracker.name),
    };
    match status {
        401 => {
            let why = ". Are the credentials right?";
            let error = Error::new(ErrorCode::Unauthorized, answered + why);
            if tracker.secret.is_empty() { error } else { error.with_setting(tracker.secret) }
        }
        403 => {
            let why = ". Does the user of the credentials have the right to do this?";
            Error::new(ErrorCode::Unauthorized, answered + why)
        }
        404 if is_page => {
            let why = format!("{NOT_FOUND_SENTENCE}; is this the address of {}?", tracker.name);
            Error::rejected(answered + &why).with_setting(tracker.address)
        }
        404 => Error::rejected(answered + NOT_FOUND_SENTENCE),
        429 => Error {
            retry_after_seconds: header(response, "retry-after")
                .and_then(|wait| retry_after_seconds(wait, header(response, "date"))),
            ..Error::new(ErrorCode::RateLimited, answered)
        },
        300..=399 => match header(response, "location") {
            Some(location) => Error::rejected(format!("{answered} and redirects to {location}"))
                .with_setting(tracker.address),
            None => Error::rejected(answered),
        },
        500..=599 => Error::new(ErrorCode::Unavailable, answered),
        _ => Error::rejected(answered),
    }
}

/// Joins the reasons of a refusal, which are a text or a list of texts.
fn join_reasons(reasons: &Value) -> Option<String> {
    let joined = match reasons {
        Value::String(text) => text.clone(),
        list => items(list).filter_map(Value::as_str).collect::<Vec<_>>().join("; "),
    };
    Some(joined).filter(|text| !text.is_empty())
}

/// Returns the wait that the header `Retry-After` requests. The header is a number of seconds or a
/// time. A time is compared with the time of the answer, because the clocks of the tracker and of
/// this machine may differ.
fn retry_after_seconds(wait: &str, answered: Option<&str>) -> Option<u32> {
    if let Ok(seconds) = wait.trim().parse() {
        return Some(seconds);
    }
    let until = httpdate::parse_http_date(wait.trim()).ok()?;
    let answered = httpdate::parse_http_date(answered?.trim()).ok()?;
    u32::try_from(until.duration_since(answered).unwrap_or_default().as_secs()).ok()
}

/// Returns the value of the first header that has this name. `name` must be in lower case.
pub fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    let mut headers = response.headers.iter();
    headers.find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
