//! Stores the cookies of one run, so that a guest can log in. Later requests of the run send a
//! cookie to the origin that set it.
//!
//! Never sends a cookie to another origin, even if the attribute `Domain` of the cookie includes
//! the other origin. Never keeps a cookie after the run. The value of a cookie may be a credential,
//! so values that are not short are redacted from logs, records and recordings.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use cookie_store::{Cookie, CookieStore, RawCookie};
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use parking_lot::Mutex;
use url::Url;

use crate::domain::Origin;
use crate::redact::{Redactor, TextKind};
use crate::secret::{SHORT_SECRET_CHARS, Secret};

use super::authorize::CheckedRequest;

/// Maximum number of cookies of one origin.
const COOKIES_MAX: usize = 50;
/// Maximum size of the names and values of one origin's cookies together, bytes.
const COOKIE_BYTES_MAX: usize = 16 << 10;

pub(super) struct Cookies {
    /// The cookies, by the origin that set them.
    jars: Mutex<BTreeMap<Origin, CookieStore>>,
    /// Finds those values of the cookies that may be credentials.
    redactor: ArcSwap<Redactor>,
}

impl Cookies {
    pub(super) fn new() -> Self {
        Self { jars: Mutex::default(), redactor: ArcSwap::from_pointee(Redactor::new([], &[])) }
    }

    /// Stores the cookies that an answer sets, unless they exceed a limit. Deleted cookies count,
    /// too: they stay in memory, so that their values are still redacted.
    pub(super) fn store(&self, origin: &Origin, url: &Url, headers: &HeaderMap) {
        let mut set_cookies = headers.get_all(SET_COOKIE).iter().peekable();
        if set_cookies.peek().is_none() {
            return;
        }
        let mut jars = self.jars.lock();
        let jar = jars.entry(origin.clone()).or_default();
        for cookie in set_cookies.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()) {
            let Ok(mut cookie) = RawCookie::parse(cookie) else { continue };
            // Ignore `Domain` and `Secure`: a tracker behind a reverse proxy may name another
            // domain, and may set `Secure` although its address is an http URL.
            cookie.unset_domain();
            cookie.set_secure(false);
            // An error means that the cookie is not valid for this URL.
            let Ok(cookie) = Cookie::try_from_raw_cookie(&cookie, url) else { continue };
            let bytes = |cookie: &Cookie<'_>| cookie.name().len() + cookie.value().len();
            let others: Vec<_> = jar
                .iter_any()
                .filter(|kept| kept.name() != cookie.name() || kept.path != cookie.path)
                .map(bytes)
                .collect();
            let is_within_limits = others.len() < COOKIES_MAX
                && others.iter().sum::<usize>() + bytes(&cookie) <= COOKIE_BYTES_MAX;
            if cookie.is_expired() || is_within_limits {
                let _ = jar.insert(cookie.into_owned(), url);
            }
        }
        self.redactor.store(Arc::new(Redactor::new(&credential_values(&jars), &[])));
    }

    /// Adds to a request the stored cookies that are valid for its URL. If the guest set a cookie
    /// with the same name, only the guest's cookie is sent.
    pub(super) fn add_to_request(&self, outbound: &mut CheckedRequest) {
        let jars = self.jars.lock();
        let Some(jar) = jars.get(&outbound.origin) else { return };
        let guest_cookies: Vec<_> =
            outbound.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        let mut cookies = String::from_utf8_lossy(&guest_cookies.join(&b"; "[..])).into_owned();
        let has_name = |pair: &str, name: &str| {
            pair.split('=').next().is_some_and(|pair_name| pair_name.trim() == name)
        };
        for (name, value) in jar.get_request_values(&outbound.url) {
            if !cookies.split(';').any(|pair| has_name(pair, name)) {
                let separator = if cookies.is_empty() { "" } else { "; " };
                cookies = format!("{cookies}{separator}{name}={value}");
            }
        }
        if let Ok(mut value) = HeaderValue::from_str(&cookies)
            && !cookies.is_empty()
        {
            value.set_sensitive(true);
            outbound.headers.insert(COOKIE, value);
        }
    }

    pub(super) fn redact_bytes(&self, body: Bytes) -> Bytes {
        self.redactor.load().redact_bytes(body)
    }

    pub(super) fn redact(&self, text: String) -> String {
        self.redactor.load().redact(TextKind::ForPeople, text)
    }
}

/// Omits short values, because they are usually languages, themes or flags.
fn credential_values(jars: &BTreeMap<Origin, CookieStore>) -> Vec<Secret> {
    let values = jars.values().flat_map(CookieStore::iter_any).map(|cookie| cookie.value());
    let long_values = values.filter(|value| value.chars().count() >= SHORT_SECRET_CHARS);
    long_values.filter_map(|value| Secret::new(value.to_owned()).checked().ok()).collect()
}
