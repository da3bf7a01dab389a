//! The message that the next page shows after a change. It travels in a cookie for one page.
//!
//! Never holds a secret.

use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::domain::{printable, shortened};

use super::cookie;
use super::parts::Tone;

const COOKIE: &str = "jackfield-flash";
/// Maximum length of a message, bytes; a cookie has at most 4 KiB, also percent-encoded.
const TEXT_BYTES_MAX: usize = 1_000;

/// A message about the change that a person just made.
#[derive(Debug, Clone)]
pub(super) struct Flash {
    pub(super) tone: Tone,
    pub(super) text: String,
}

impl Flash {
    /// The message in a request.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let (tone, text) = cookie::get(headers, COOKIE)?.split_once(':')?;
        let tone = if tone == "ok" { Tone::Ok } else { Tone::Warn };
        let text = percent_decode_str(text).decode_utf8().ok()?;
        Some(Self { tone, text: printable(&text) })
    }

    /// Deletes the message, because a page shows it.
    pub(super) fn clear(response: &mut Response) {
        cookie::set(response, COOKIE, "", 0);
    }
}

/// Leads to another page.
pub(super) fn see_other(to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// Leads to another page, which shows that the change was made.
pub(super) fn done(to: &str, text: &str) -> Response {
    with_flash(to, "ok", text)
}

/// Leads to another page, which shows that something went wrong.
pub(super) fn warned(to: &str, text: &str) -> Response {
    with_flash(to, "warn", text)
}

fn with_flash(to: &str, tone: &str, text: &str) -> Response {
    let mut response = see_other(to);
    let text = shortened(text, TEXT_BYTES_MAX);
    let text = utf8_percent_encode(&text, NON_ALPHANUMERIC);
    cookie::set(&mut response, COOKIE, &format!("{tone}:{text}"), 60);
    response
}
