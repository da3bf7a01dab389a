//! Creates the errors of the contract, also from an answer with which a tracker refuses a request.

use serde_json::Value;

use crate::bindings::jackfield::connector::http::{HttpError, Response};
use crate::bindings::jackfield::connector::model::{Error, ErrorCode};
use crate::request::{Tracker, items};

/// Maximum number of characters that are quoted from a refusal that is not JSON.
const TEXT_CHARS_MAX: usize = 300;
/// The last sentence of the message about a 404.
const NOT_FOUND: &str = ". It does not exist, or the user of the credentials cannot see it";

impl Error {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), setting: None, retry_after_seconds: None }
    }

    /// Creates the error for something that the tracker does not accept or does not have.
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Rejected, message)
    }

    /// Whether the tracker answered 404.
    pub fn is_not_found(&self) -> bool {
        self.code == ErrorCode::Rejected && self.message.contains(NOT_FOUND)
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unsupported, message)
    }

    /// Names the setting that a person must change.
    pub fn about(self, setting: &str) -> Self {
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

/// Turns an answer that is not a success into an error that says what to do.
pub(crate) fn refused(tracker: &Tracker, path: &str, response: &Response) -> Error {
    let Response { status, .. } = *response;
    let text = response.text.as_deref().unwrap_or_default().trim();
    let is_page = text.starts_with('<');
    let words = match serde_json::from_str::<Value>(text) {
        Ok(body) => body.pointer(tracker.words).and_then(words),
        Err(_) if is_page || text.is_empty() => None,
        Err(_) => Some(text.chars().take(TEXT_CHARS_MAX).collect()),
    };
    let answered = match words {
        Some(words) => format!("{} answered {status} to {path}: {words}", tracker.name),
        None => format!("{} answered {status} to {path}", tracker.name),
    };
    match status {
        401 => {
            let why = ". Are the credentials right?";
            let error = Error::new(ErrorCode::Unauthorized, answered + why);
            if tracker.secret.is_empty() { error } else { error.about(tracker.secret) }
        }
        403 => {
            let why = ". Does the user of the credentials have the right to do this?";
            Error::new(ErrorCode::Unauthorized, answered + why)
        }
        404 if is_page => {
            let why = format!("{NOT_FOUND}; is this the address of {}?", tracker.name);
            Error::rejected(answered + &why).about(tracker.address)
        }
        404 => Error::rejected(answered + NOT_FOUND),
        429 => Error {
            retry_after_seconds: header(response, "retry-after")
                .and_then(|wait| retry_after_seconds(wait, header(response, "date"))),
            ..Error::new(ErrorCode::RateLimited, answered)
        },
        300..=399 => match header(response, "location") {
            Some(location) => Error::rejected(format!("{answered} and redirects to {location}"))
                .about(tracker.address),
            None => Error::rejected(answered),
        },
        500..=599 => Error::new(ErrorCode::Unavailable, answered),
        _ => Error::rejected(answered),
    }
}

/// Returns the tracker's own explanation, which is a text or a list of texts.
fn words(given: &Value) -> Option<String> {
    let words = match given {
        Value::String(text) => text.clone(),
        list => items(list).filter_map(Value::as_str).collect::<Vec<_>>().join("; "),
    };
    Some(words).filter(|words| !words.is_empty())
}

/// Returns the seconds of `Retry-After`, a number or a time. A time is compared with the time of
/// the answer, because the clocks of the tracker and of this machine may differ.
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
