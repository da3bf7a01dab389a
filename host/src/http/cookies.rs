//! Reads and sets the cookies of browsers that sign in.
//!
//! JavaScript in a page can never read these cookies. Over https, the names of the cookies have a
//! prefix that makes browsers refuse a cookie that was set over http. If `public_url` has no path,
//! the prefix (`__Host-`) also makes browsers refuse a cookie that another host of the domain has
//! set.

use axum::extract::Request;
use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use crate::config::Config;
use crate::secret::Secret;

use super::client_address::request_client_of;
use super::same_site::authority;

/// A cookie that the server sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cookie {
    /// The name without the prefix for https.
    name: &'static str,
    same_site: &'static str,
}

/// The cookie that identifies the session of a browser.
pub(super) const SESSION_COOKIE: Cookie = Cookie { name: "jackfield", same_site: "Strict" };
/// The cookie that identifies a sign-in that has begun. The browser must send it when the identity
/// provider redirects the browser back.
pub(super) const SIGN_IN_COOKIE: Cookie = Cookie { name: "jackfield-login", same_site: "Lax" };

/// Reads the cookies of one request, and creates the `Set-Cookie` headers of its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestCookies {
    /// Whether the browser uses https, as far as the request and `public_url` show.
    is_https: bool,
    /// Whether `public_url` adds no path, so that the cookies have the path `/`. The prefix
    /// `__Host-` requires this path.
    has_root_path: bool,
}

impl RequestCookies {
    pub(super) fn new(config: &Config, request: &Request) -> Self {
        let public = config.public_url.as_ref().filter(|url| url.scheme() == "https");
        let host = authority(request.headers(), request.uri());
        let is_public_url = public.is_some_and(|url| host == Some(url.authority()));
        let is_https = request_client_of(request).is_https || is_public_url;
        Self { is_https, has_root_path: config.path_prefix().is_empty() }
    }

    pub(super) fn scheme(self) -> &'static str {
        if self.is_https { "https" } else { "http" }
    }

    pub(super) fn get(self, headers: &HeaderMap, cookie: Cookie) -> Option<Secret> {
        let cookie_name = self.name(cookie);
        let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
        let mut matching = pairs.filter(|(name, _)| name.trim() == cookie_name);
        matching.next().map(|(_, value)| Secret::new(value.trim().to_owned()))
    }

    /// The value of the header `Set-Cookie` that makes the browser store the cookie.
    pub(super) fn set(self, cookie: Cookie, value: &Secret, seconds: u64) -> HeaderValue {
        self.header_value(cookie, value.reveal(), seconds)
    }

    /// The value of the header `Set-Cookie` that makes the browser delete the cookie.
    pub(super) fn remove(self, cookie: Cookie) -> HeaderValue {
        self.header_value(cookie, "", 0)
    }

    fn header_value(self, cookie: Cookie, value: &str, seconds: u64) -> HeaderValue {
        let secure = if self.is_https { "; Secure" } else { "" };
        let (name, same_site) = (self.name(cookie), cookie.same_site);
        let text = format!(
            "{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}"
        );
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    fn name(self, cookie: Cookie) -> String {
        let prefix = match (self.is_https, self.has_root_path) {
            (true, true) => "__Host-",
            (true, false) => "__Secure-",
            (false, _) => "",
        };
        format!("{prefix}{}", cookie.name)
    }
}
