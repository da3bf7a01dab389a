//! Checks a request of a run: its method, URL, headers, body and effect.
//!
//! Never resolves a name, never connects and never reads a secret. An authorized request may still
//! be refused later because of the IP address to which its host name resolves.

use aho_corasick::AhoCorasick;
use bytes::Bytes;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::domain::{Connection, Effect, Limits, Origin, SecretPlace};

use super::record::Call;
use super::secrets::check_placeholders;
use super::{HttpError, OutboundRequest, Permission, RunRequests};
use crate::telemetry::TraceParent;

/// Maximum length of a URL, bytes.
pub(crate) const URL_BYTES_MAX: usize = 8 * 1024;
/// Maximum number of headers that a guest may set.
const HEADERS_MAX: usize = 64;
/// Maximum size of all headers that a guest sets, bytes: the sum of their names and values.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Headers that request a part of a resource. With them, a guest could read a secret in pieces, and
/// redaction would not recognise the pieces.
const RANGE_HEADERS: [&str; 2] = ["range", "if-range"];

/// Headers in which reverse proxies state the address of their client. A guest must not set them: a
/// service that trusts this machine would trust the address in them too.
const FORWARDING_HEADERS: [&str; 3] = ["forwarded", "x-real-ip", "x-client-ip"];
/// The prefix of other headers that reverse proxies set, for example `x-forwarded-for`.
const FORWARDING_HEADER_PREFIX: &str = "x-forwarded-";

/// Headers that continue a trace in the tracker. If the connection has the setting `trace_context`,
/// only the host may set them. A guest's `tracestate` would describe another span than the host's
/// `traceparent`.
const TRACE_HEADERS: [&str; 2] = [TraceParent::HEADER, "tracestate"];

/// Headers about the target, the framing and the encoding of a message. If a guest's HTTP library
/// sets one of them, the host removes it.
const FRAMING_HEADERS: [&str; 11] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The only headers of the guest that the next request may keep if a redirect leads to another
/// origin.
const CROSS_ORIGIN_HEADERS: [&str; 4] = ["accept", "accept-language", "content-type", "user-agent"];

/// A request whose target, method, headers and body are checked, or a request for a token, which
/// needs no check. It is not `Debug`, because the host inserts secrets into it.
#[derive(Clone)]
pub(crate) struct CheckedRequest {
    pub(crate) method: Method,
    pub(crate) effect: Effect,
    pub(crate) origin: Origin,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The value of the header `traceparent`, if the request continues a trace.
    pub(super) traceparent: Option<HeaderValue>,
}

/// Checks a request before its host name is resolved. Records the target of the request if the
/// connection grants its origin.
pub(super) fn authorize(
    requests: &RunRequests,
    request: OutboundRequest,
    call: &mut Call,
) -> Result<CheckedRequest, HttpError> {
    let RunRequests { active, egress, permission, limits, .. } = requests;
    let target = parse_target(&request.url, &active.connection)?;
    call.record_target(&target.0, &target.1, request.body.len());
    let own_headers = &egress.own_server.headers;
    let outbound = CheckedRequest::check(request, target, &active.connection, limits, own_headers)?;
    check_permission(permission, outbound.effect)?;
    check_placeholders(&outbound, active)?;
    Ok(outbound)
}

impl CheckedRequest {
    /// Checks the method, the headers and the body of a request. The target is already checked.
    pub(crate) fn check(
        request: OutboundRequest,
        (origin, url): (Origin, Url),
        connection: &Connection,
        limits: &Limits,
        own_headers: &[String],
    ) -> Result<Self, HttpError> {
        let effect = effect_of(&request.method, request.effect);
        check_method(&request.method)?;
        let headers = check_headers(&request.headers, connection, own_headers)?;
        if request.body.len() as u64 > limits.request_body_bytes {
            return Err(body_too_large(limits));
        }
        let (method, body, traceparent) = (request.method, request.body, None);
        Ok(Self { method, effect, origin, url, headers, body, traceparent })
    }

    /// Returns whether the URL, a header value or the body contains this text.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.url.as_str().contains(text)
            || self.headers.values().any(|value| occurs_in(text, value.as_bytes()))
            || occurs_in(text, &self.body)
    }

    /// Builds the request that follows a redirect.
    pub(crate) fn redirected(
        &self,
        status: u16,
        location: &str,
        connection: &Connection,
    ) -> Result<Self, HttpError> {
        check_url_text(location)?;
        let url = self.url.join(location).map_err(|error| invalid_url(location, &error))?;
        let origin = granted_origin(&url, connection)?;
        let mut next = Self { origin, url, ..self.clone() };
        if next.origin != self.origin {
            next.headers = cross_origin_headers(&self.headers);
        }
        if status == 303 || (status <= 302 && self.method == Method::POST) {
            if next.method != Method::HEAD {
                next.method = Method::GET;
            }
            next.body = Bytes::new();
            next.headers.remove(CONTENT_TYPE);
        }
        Ok(next)
    }
}

pub(super) fn effect_of(method: &Method, marked_effect: Option<Effect>) -> Effect {
    marked_effect.unwrap_or(match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => Effect::Read,
        _ => Effect::Write,
    })
}

/// Parses a URL whose origin the connection must grant.
pub(crate) fn parse_target(
    text: &str,
    connection: &Connection,
) -> Result<(Origin, Url), HttpError> {
    check_url_text(text)?;
    let url = Url::parse(text).map_err(|error| invalid_url(text, &error))?;
    if host_ends_in_dot(text) {
        return Err(HttpError::Invalid("the host name ends in a dot; remove the dot".to_owned()));
    }
    Ok((granted_origin(&url, connection)?, url))
}

/// Returns whether the host name of a URL ends in a dot. The URL parser removes a dot after an IP
/// address, so the text itself is checked. If the host is a name, `Origin` also refuses the dot.
fn host_ends_in_dot(text: &str) -> bool {
    let authority = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.ends_with('.')
}

/// Returns whether a guest must not set this header.
pub(super) fn is_reserved_header(
    name: &str,
    connection: &Connection,
    own_headers: &[String],
) -> bool {
    let grants = &connection.grants;
    name == AUTHORIZATION
        || FORWARDING_HEADERS.contains(&name)
        || name.starts_with(FORWARDING_HEADER_PREFIX)
        || (connection.trace_context && TRACE_HEADERS.contains(&name))
        || own_headers.iter().any(|own| own.eq_ignore_ascii_case(name))
        || (RANGE_HEADERS.contains(&name) && !grants.secrets.is_empty())
        || grants.secrets.values().any(|grant| match &grant.place {
            SecretPlace::Header { name: header, .. } => header.eq_ignore_ascii_case(name),
            _ => false,
        })
}

pub(crate) fn body_too_large(limits: &Limits) -> HttpError {
    let max = limits.request_body_bytes;
    HttpError::Limit(format!("`limits.request_body_bytes` = {max}: the request body is larger"))
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
            "the method {method} is not allowed; use GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE"
        ))),
    }
}

fn check_permission(permission: &Permission, effect: Effect) -> Result<(), HttpError> {
    match (permission, effect) {
        (Permission::Nothing, _) => Err(HttpError::Denied(
            "requests are not allowed in this call of the connector (`describe`)".to_owned(),
        )),
        (Permission::Reads, Effect::Write) => Err(HttpError::Denied(
            "a write is allowed only in `create`, and in `comment`, `reopen` and `attach`; if this \
             request is a search, mark it as `read`"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

pub(super) fn occurs_in(text: &str, bytes: &[u8]) -> bool {
    AhoCorasick::new([text]).is_ok_and(|search| search.is_match(bytes))
}

fn granted_origin(url: &Url, connection: &Connection) -> Result<Origin, HttpError> {
    let origin = Origin::of(url)
        .map_err(|error| HttpError::Invalid(format!("the URL is not allowed: {}", error.why)))?;
    if connection.grants.origins.contains(&origin) {
        Ok(origin)
    } else {
        Err(HttpError::NotGranted(origin))
    }
}

/// Refuses a URL that is too long or contains whitespace or a control character. The URL parser
/// would remove some of these characters without an error.
fn check_url_text(text: &str) -> Result<(), HttpError> {
    if text.len() > URL_BYTES_MAX {
        return Err(HttpError::Invalid(format!(
            "the URL has {} bytes; at most {URL_BYTES_MAX} are allowed",
            text.len()
        )));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(HttpError::Invalid(
            "the URL contains whitespace or a control character; percent-encode it".to_owned(),
        ));
    }
    Ok(())
}

fn invalid_url(text: &str, error: &url::ParseError) -> HttpError {
    HttpError::Invalid(format!("{text:?} is not a valid URL: {error}"))
}

/// Checks the headers, and returns those that the host does not remove.
fn check_headers(
    guest_headers: &[(String, String)],
    connection: &Connection,
    own_headers: &[String],
) -> Result<HeaderMap, HttpError> {
    let bytes: usize = guest_headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if guest_headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(HttpError::Invalid(format!(
            "the request has {} headers with {bytes} bytes; at most {HEADERS_MAX} headers with \
             {HEADER_BYTES_MAX} bytes are allowed",
            guest_headers.len()
        )));
    }
    let mut headers = HeaderMap::with_capacity(guest_headers.len());
    for (name, value) in guest_headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| HttpError::Invalid(format!("{name:?} is not a valid header name")))?;
        if is_reserved_header(name.as_str(), connection, own_headers) {
            return Err(HttpError::Denied(format!(
                "only the host may set the header `{name}`; remove it from the request"
            )));
        }
        // With a header `jackfield-…`, the guest tells the host something, such as the effect of a
        // wasi:http request.
        let is_dropped =
            ["jackfield-", "proxy-"].iter().any(|prefix| name.as_str().starts_with(prefix));
        if is_dropped || FRAMING_HEADERS.contains(&name.as_str()) {
            continue;
        }
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
            HttpError::Invalid(format!("the value of the header `{name}` has a control character"))
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn cross_origin_headers(headers: &HeaderMap) -> HeaderMap {
    headers
        .iter()
        .filter(|(name, _)| CROSS_ORIGIN_HEADERS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
