//! The cookies of browsers that sign in.
//!
//! No script can read them. Over https, their names make browsers refuse a cookie that was set over
//! http; unless the server is below a path, also one that another host of the domain set.

use axum::extract::Request;
use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use crate::config::Config;
use crate::secret::Secret;

use super::client_address::origin_of;
use super::same_site::authority;

/// A cookie's name over http, and when browsers send it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cookie {
    name: &'static str,
    same_site: &'static str,
}

/// The session of a browser.
pub(super) const SESSION: Cookie = Cookie { name: "jackfield", same_site: "Strict" };
/// A sign-in that has begun. The browser must send it when the identity provider sends it back.
pub(super) const LOGIN: Cookie = Cookie { name: "jackfield-login", same_site: "Lax" };

/// Reads and sets cookies of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct CookieAttributes {
    /// Whether the browser uses https, as far as the request tells.
    https: bool,
    /// Whether the server has all paths of its host. `__Host-` needs the path `/`.
    is_whole_host: bool,
}

impl CookieAttributes {
    pub(super) fn of(config: &Config, request: &Request) -> Self {
        let public = config.public_url.as_ref().filter(|url| url.scheme() == "https");
        let host = authority(request.headers(), request.uri());
        let at_public = public.is_some_and(|url| host == Some(url.authority()));
        let https = origin_of(request).is_https || at_public;
        Self { https, is_whole_host: config.path_prefix().is_empty() }
    }

    /// `https` or `http`.
    pub(super) fn scheme(self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    pub(super) fn get(self, headers: &HeaderMap, cookie: Cookie) -> Option<Secret> {
        let wanted = self.name(cookie);
        let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(name, _)| name.trim() == wanted);
        found.next().map(|(_, value)| Secret::new(value.trim().to_owned()))
    }

    pub(super) fn set(self, cookie: Cookie, value: &Secret, seconds: u64) -> HeaderValue {
        self.header(cookie, value.reveal(), seconds)
    }

    pub(super) fn remove(self, cookie: Cookie) -> HeaderValue {
        self.header(cookie, "", 0)
    }

    fn header(self, cookie: Cookie, value: &str, seconds: u64) -> HeaderValue {
        let secure = if self.https { "; Secure" } else { "" };
        let (name, same_site) = (self.name(cookie), cookie.same_site);
        let text = format!(
            "{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}"
        );
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    fn name(self, cookie: Cookie) -> String {
        let prefix = match (self.https, self.is_whole_host) {
            (true, true) => "__Host-",
            (true, false) => "__Secure-",
            (false, _) => "",
        };
        format!("{prefix}{}", cookie.name)
    }
}
