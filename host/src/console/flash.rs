//! The flash message: after a change, the next page shows this message once. A cookie transports
//! the message to that page.
//!
//! A flash message never contains a secret.

use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::domain::{printable, shortened};

use super::cookie;
use super::parts::Tone;

/// The name of the cookie with the message.
const COOKIE: &str = "jackfield-flash";
/// Maximum length of a message, bytes. Percent-encoding makes the message up to three times as
/// long, and a cookie may have at most 4 KiB.
const TEXT_BYTES_MAX: usize = 1_000;

/// A message about the change that a person just made.
#[derive(Debug, Clone)]
pub(super) struct Flash {
    pub(super) tone: Tone,
    pub(super) text: String,
}

impl Flash {
    /// Reads the message from the cookie of a request.
    pub(super) fn from_cookie(headers: &HeaderMap) -> Option<Self> {
        let (tone, text) = cookie::get(headers, COOKIE)?.split_once(':')?;
        let tone = if tone == "ok" { Tone::Ok } else { Tone::Warn };
        let text = percent_decode_str(text).decode_utf8().ok()?;
        Some(Self { tone, text: printable(&text) })
    }

    /// Deletes the cookie of the message, because the page in this response shows the message.
    pub(super) fn clear_cookie(response: &mut Response) {
        cookie::set(response, COOKIE, "", 0);
    }
}

/// Redirects the browser to another page, with the status 303.
pub(super) fn redirect(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Redirects the browser to another page, which shows `text` as the message of a success.
pub(super) fn redirect_with_success(location: &str, text: &str) -> Response {
    redirect_with_flash(location, "ok", text)
}

/// Redirects the browser to another page, which shows `text` as a warning.
pub(super) fn redirect_with_warning(location: &str, text: &str) -> Response {
    redirect_with_flash(location, "warn", text)
}

fn redirect_with_flash(location: &str, tone: &str, text: &str) -> Response {
    let mut response = redirect(location);
    let text = shortened(text, TEXT_BYTES_MAX);
    let text = utf8_percent_encode(&text, NON_ALPHANUMERIC);
    cookie::set(&mut response, COOKIE, &format!("{tone}:{text}"), 60);
    response
}
