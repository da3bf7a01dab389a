//! Reads and sets the console's cookies. Scripts cannot read cookies that are set here
//! (`HttpOnly`), and requests that other sites cause do not contain them (`SameSite=Strict`).

use axum::http::HeaderMap;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::response::Response;

pub(super) fn get<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let headers = headers.get_all(COOKIE).iter().filter_map(|it| it.to_str().ok());
    let mut pairs = headers.flat_map(|it| it.split(';')).filter_map(|it| it.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Sets a cookie that lasts `max_age_s` seconds; 0 deletes the cookie. The value must contain only
/// characters that are allowed in a cookie.
pub(super) fn set(response: &mut Response, name: &str, value: &str, max_age_s: u32) {
    let cookie = format!("{name}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict");
    if let Ok(cookie) = cookie.parse() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}
