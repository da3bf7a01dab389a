//! A guest's request, checked: where it goes as a value, what it may carry, what it does.
//!
//! Never resolves, never connects, never sees a secret. What passes here may still be refused by its
//! address.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use url::{Position, Url};

use crate::domain::{Connection, Effect, Limits, Origin, SecretPlace};

use super::{HttpError, OutboundRequest};

/// Longest address, bytes.
const URL_BYTES_MAX: usize = 8 * 1024;
/// Most headers of a guest.
const HEADERS_MAX: usize = 64;
/// Names and values of a guest's headers together, bytes.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Headers that decide where a request goes, how it is framed or as whom it speaks: the host's,
/// like every `proxy-…`.
const HOST_HEADERS: [&str; 10] = [
    "authorization",
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that the host writes itself; what a guest's library puts there is dropped.
const REPLACED_HEADERS: [&str; 2] = ["accept-encoding", "content-length"];

/// What may follow a redirect to another origin.
const TRAVELLING_HEADERS: [&str; 4] = ["accept", "accept-language", "content-type", "user-agent"];

/// A request that may be sent as far as its text goes. Later it carries secrets, so it has no `Debug`.
#[derive(Clone)]
pub(crate) struct Outbound {
    pub(crate) method: Method,
    pub(crate) effect: Effect,
    pub(crate) origin: Origin,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Outbound {
    /// Checks a request to an address that [`target`] took.
    ///
    /// # Errors
    /// `Denied`, `Invalid` or `Limit` with the reason.
    pub(crate) fn check(
        request: OutboundRequest,
        (origin, url): (Origin, Url),
        connection: &Connection,
        limits: &Limits,
    ) -> Result<Self, HttpError> {
        let effect = effect(&request);
        check_method(&request.method)?;
        let headers = headers(&request.headers, connection)?;
        check_body(request.body.len(), limits)?;
        Ok(Self { method: request.method, effect, origin, url, headers, body: request.body })
    }

    /// The request that follows a redirect, checked like the first.
    pub(crate) fn redirected(
        &self,
        status: u16,
        location: &str,
        connection: &Connection,
    ) -> Result<Self, HttpError> {
        check_text(location)?;
        let url = self.url.join(location).map_err(|error| unusable(location, &error))?;
        let origin = granted(&url, connection)?;
        let mut next = Self { origin, url, ..self.clone() };
        if next.origin != self.origin {
            next.headers = travelling(&self.headers);
        }
        if status == 303 || (status <= 302 && self.method == Method::POST) {
            if next.method != Method::HEAD {
                next.method = Method::GET;
            }
            next.body = Bytes::new();
            next.headers.remove(http::header::CONTENT_TYPE);
        }
        Ok(next)
    }

    /// Path and query as they go over the wire.
    pub(crate) fn path_and_query(&self) -> Result<Uri, HttpError> {
        path_and_query(&self.url)
    }

    /// For people: without the query, which may carry what nobody should read.
    pub(super) fn what(&self) -> String {
        format!("{} {}{}", self.method, self.origin, self.url.path())
    }
}

/// What a request does: as marked, or by its method.
pub(super) fn effect(request: &OutboundRequest) -> Effect {
    request.effect.unwrap_or({
        if matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS) {
            Effect::Read
        } else {
            Effect::Write
        }
    })
}

/// An address as granted origin and URL. A path is put behind the only origin as text and parsed as a whole:
/// joining would let `//host` and its like name another one.
pub(crate) fn target(text: &str, connection: &Connection) -> Result<(Origin, Url), HttpError> {
    check_text(text)?;
    let url = if text.starts_with('/') {
        let [only] = connection.grants.origins.as_slice() else {
            let count = connection.grants.origins.len();
            return Err(HttpError::Invalid(format!(
                "a path alone needs exactly one granted origin; this connection grants {count}"
            )));
        };
        Url::parse(&format!("{only}{text}"))
    } else {
        Url::parse(text)
    };
    let url = url.map_err(|error| unusable(text, &error))?;
    if ends_in_dot(text) {
        return Err(HttpError::Invalid("the host ends in a dot".to_owned()));
    }
    Ok((granted(&url, connection)?, url))
}

/// The URL parser drops the dot behind an address; behind a name the origin refuses it.
fn ends_in_dot(text: &str) -> bool {
    let authority = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.ends_with('.')
}

/// Whether a guest may not set this header.
pub(in crate::connector) fn is_hosts(name: &str, connection: &Connection) -> bool {
    HOST_HEADERS.contains(&name)
        || name.starts_with("proxy-")
        || connection.grants.secrets.values().any(|grant| match &grant.place {
            SecretPlace::Header { name: placed, .. } => placed.eq_ignore_ascii_case(name),
            _ => false,
        })
}

/// Path and query of an address as they go over the wire.
pub(super) fn path_and_query(url: &Url) -> Result<Uri, HttpError> {
    let text = &url[Position::BeforePath..Position::AfterQuery];
    text.parse().map_err(|error| HttpError::Invalid(format!("the path cannot be sent: {error}")))
}

/// A body against its limit.
pub(super) fn check_body(bytes: usize, limits: &Limits) -> Result<(), HttpError> {
    let max = limits.request_body_bytes;
    if u64::try_from(bytes).is_ok_and(|bytes| bytes <= max) {
        return Ok(());
    }
    Err(HttpError::Limit(format!("`limits.request_body_bytes` = {max}: the body is larger")))
}

fn check_method(method: &Method) -> Result<(), HttpError> {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::OPTIONS
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE => Ok(()),
        _ => Err(HttpError::Denied(format!(
            "the method {method}; allowed are GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"
        ))),
    }
}

/// The origin of an address, if the connection grants it.
fn granted(url: &Url, connection: &Connection) -> Result<Origin, HttpError> {
    let origin = Origin::of(url).map_err(|error| HttpError::Invalid(error.why.to_owned()))?;
    if connection.grants.origins.contains(&origin) {
        return Ok(origin);
    }
    Err(HttpError::Denied(format!("the connection does not grant {origin}")))
}

/// The URL parser drops tabs and line ends and trims blanks; nobody who sends them means well.
fn check_text(text: &str) -> Result<(), HttpError> {
    if text.len() > URL_BYTES_MAX {
        let bytes = text.len();
        return Err(HttpError::Invalid(format!(
            "the address has {bytes} bytes; {URL_BYTES_MAX} are allowed"
        )));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(HttpError::Invalid(
            "the address holds a blank or a control character".to_owned(),
        ));
    }
    Ok(())
}

fn unusable(text: &str, error: &url::ParseError) -> HttpError {
    HttpError::Invalid(format!("{text:?} is no address: {error}"))
}

fn headers(given: &[(String, String)], connection: &Connection) -> Result<HeaderMap, HttpError> {
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if given.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(HttpError::Invalid(format!(
            "{} headers with {bytes} bytes; {HEADERS_MAX} with {HEADER_BYTES_MAX} are allowed",
            given.len()
        )));
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| HttpError::Invalid(format!("{name:?} is no header name")))?;
        if is_hosts(name.as_str(), connection) {
            return Err(HttpError::Denied(format!("the header `{name}` is the host's to set")));
        }
        // `jackfield-…` speaks to the host (the effect of a wasi:http request) and goes no further.
        if REPLACED_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("jackfield-") {
            continue;
        }
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            HttpError::Invalid(format!("the value of `{name}` holds a control character"))
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn travelling(headers: &HeaderMap) -> HeaderMap {
    let keep = |name: &HeaderName| TRAVELLING_HEADERS.contains(&name.as_str());
    headers
        .iter()
        .filter(|(name, _)| keep(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
