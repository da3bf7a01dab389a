//! The flash message: after a change, the next page shows this message once.
//!
//! A flash message never contains a secret.

use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::domain::{printable, shortened};

use super::cookie;
use super::parts::Tone;

const COOKIE: &str = "jackfield-flash";
/// Maximum length of a message, bytes. Percent-encoding makes the message up to three times as
/// long, and a cookie may have at most 4 KiB.
const TEXT_BYTES_MAX: usize = 1_000;

#[derive(Debug, Clone)]
pub(super) struct Flash {
    pub(super) tone: Tone,
    pub(super) text: String,
}

impl Flash {
    pub(super) fn from_cookie(headers: &HeaderMap) -> Option<Self> {
        let (tone, text) = cookie::get(headers, COOKIE)?.split_once(':')?;
        let tone = if tone == "ok" { Tone::Ok } else { Tone::Warn };
        let text = percent_decode_str(text).decode_utf8().ok()?;
        Some(Self { tone, text: printable(&text) })
    }

    /// Deletes the cookie, because the page in this response shows the message.
    pub(super) fn clear_cookie(response: &mut Response) {
        cookie::set(response, COOKIE, "", 0);
    }
}

/// Redirects with the status 303.
pub(super) fn redirect(location: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

pub(super) fn redirect_with_success(location: &str, text: &str) -> Response {
    redirect_with_flash(location, "ok", text)
}

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
