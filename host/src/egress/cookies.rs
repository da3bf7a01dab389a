//! The cookies of one run: a cookie that an origin sets is sent with later requests of the run to
//! that origin, so that a login works.
//!
//! Never sends a cookie to another origin, whatever its `Domain` says, and keeps none after the
//! run. A cookie may be a credential: the redaction of logs and of the record knows its value.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use cookie_store::{CookieStore, RawCookie};
use http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use parking_lot::Mutex;
use url::Url;

use crate::domain::Origin;
use crate::redact::{Redactor, TextKind};
use crate::secret::{SHORT_SECRET_CHARS, Secret};

use super::authorize::Outbound;

/// Maximum number of cookies of one origin.
const COOKIES_MAX: usize = 50;
/// Maximum size of the names and values of one origin's cookies together, bytes.
const COOKIE_BYTES_MAX: usize = 16 << 10;

/// The cookies of one run, by origin.
pub(super) struct Cookies {
    jars: Mutex<BTreeMap<Origin, CookieStore>>,
    /// Finds the values of the cookies in texts.
    redactor: ArcSwap<Redactor>,
}

impl Cookies {
    pub(super) fn new() -> Self {
        Self { jars: Mutex::default(), redactor: ArcSwap::from_pointee(Redactor::new([], &[])) }
    }

    /// Stores the cookies that an answer sets. A cookie beyond the limits is ignored.
    pub(super) fn store(&self, origin: &Origin, url: &Url, headers: &HeaderMap) {
        let mut set = headers.get_all(SET_COOKIE).iter().peekable();
        if set.peek().is_none() {
            return;
        }
        let mut jars = self.jars.lock();
        let jar = jars.entry(origin.clone()).or_default();
        for cookie in set.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()) {
            let Ok(mut cookie) = RawCookie::parse(cookie) else { continue };
            // A tracker behind a proxy may set another domain, and `Secure` although it is reached
            // by http.
            cookie.unset_domain();
            cookie.set_secure(false);
            let new_bytes = cookie.name().len() + cookie.value().len();
            let kept = jar.iter_any().map(|kept| kept.name().len() + kept.value().len());
            if jar.iter_any().count() < COOKIES_MAX
                && kept.sum::<usize>() + new_bytes <= COOKIE_BYTES_MAX
            {
                // An error means that the cookie does not fit this address.
                let _ = jar.insert_raw(&cookie, url);
            }
        }
        self.redactor.store(Arc::new(Redactor::new(&secrets(&jars), &[])));
    }

    /// Adds the cookies of its origin to a request. Does not replace a cookie that the request has.
    pub(super) fn add_to(&self, outbound: &mut Outbound) {
        let jars = self.jars.lock();
        let Some(jar) = jars.get(&outbound.origin) else { return };
        let given: Vec<_> =
            outbound.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        let mut line = String::from_utf8_lossy(&given.join(&b"; "[..])).into_owned();
        let has = |line: &str, name: &str| {
            line.split(';').any(|pair| pair.split('=').next().is_some_and(|it| it.trim() == name))
        };
        for (name, value) in jar.get_request_values(&outbound.url) {
            if !has(&line, name) {
                let separator = if line.is_empty() { "" } else { "; " };
                line = format!("{line}{separator}{name}={value}");
            }
        }
        if let Ok(mut value) = HeaderValue::from_str(&line)
            && !line.is_empty()
        {
            value.set_sensitive(true);
            outbound.headers.insert(COOKIE, value);
        }
    }

    /// Removes the values of cookies from a body.
    pub(super) fn redact_bytes(&self, body: Bytes) -> Bytes {
        self.redactor.load().bytes(body)
    }

    /// Removes the values of cookies from a text for people.
    pub(super) fn redact(&self, text: String) -> String {
        self.redactor.load().redact(TextKind::ForPeople, text)
    }
}

/// The cookie values that may be credentials. Short values are languages, themes and flags.
fn secrets(jars: &BTreeMap<Origin, CookieStore>) -> Vec<Secret> {
    let values = jars.values().flat_map(CookieStore::iter_any).map(|cookie| cookie.value());
    let long = values.filter(|value| value.chars().count() >= SHORT_SECRET_CHARS);
    long.filter_map(|value| Secret::new(value.to_owned()).checked().ok()).collect()
}
