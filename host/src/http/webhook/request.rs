//! A webhook request, and the form in which the event of the request stores it.
//!
//! The stored form never contains the token; credentials in its query and headers are masked.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::domain::{
    ConnectionId, DefectId, Event, EventId, EventKind, EventStart, Outcome, ReceivedRequest,
    milliseconds, shortened,
};

use super::body::ReadBody;

/// One webhook request.
pub(crate) struct WebhookRequest {
    /// The id of the request's event.
    pub(super) id: EventId,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ReadBody,
    /// The path segment where a token is expected; empty for a request of an account.
    pub(super) token: String,
    /// The path below the token, without the query.
    pub(crate) path: String,
    /// The query of the address, without the question mark.
    query: Option<String>,
    /// The time when the head of the request was read.
    pub(super) received_at: Timestamp,
    /// The same time on the monotonic clock.
    pub(super) started: Instant,
}

/// Splits the path of a request into the segment where a token is expected and the path below this
/// segment.
pub(crate) fn token_and_path(path: &str) -> (String, String) {
    let below = path.strip_prefix("/hooks").unwrap_or(path);
    let below = below.strip_prefix('/').unwrap_or(below);
    let end = below.find('/').unwrap_or(below.len());
    let (token, path) = below.split_at(end);
    (token.to_owned(), path.to_owned())
}

/// A header is treated as a credential if its name contains one of these words.
const CREDENTIAL_WORDS: [&str; 7] =
    ["auth", "cookie", "key", "token", "secret", "signature", "password"];
/// The names of HTTP authentication schemes. Any other word in the position of the scheme may be
/// the credential itself, so it is masked.
const SCHEMES: [&str; 18] = [
    "apikey",
    "aws4-hmac-sha256",
    "basic",
    "bearer",
    "concealed",
    "digest",
    "dpop",
    "gnap",
    "hawk",
    "hmac",
    "hoba",
    "mutual",
    "negotiate",
    "ntlm",
    "oauth",
    "signature",
    "token",
    "vapid",
];
/// The limits of what an event stores of a request. The limits of a name and a value apply to each
/// header.
const HEADERS_MAX: usize = 32;
const METHOD_BYTES_MAX: usize = 32;
const PATH_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 256;
const BODY_BYTES_MAX: usize = 4 * 1024;

impl WebhookRequest {
    pub(crate) fn new(
        id: EventId,
        (token, path): (String, String),
        parts: Parts,
        body: ReadBody,
        received_at: Timestamp,
        started: Instant,
    ) -> Self {
        Self {
            id,
            token,
            path,
            query: parts.uri.query().map(str::to_owned),
            method: parts.method,
            headers: parts.headers,
            body,
            received_at,
            started,
        }
    }

    /// Creates the event of this request, without headers and body. `status` is the HTTP status of
    /// the answer; it is `None` while the request is being handled.
    pub(crate) fn event(
        &self,
        kind: EventKind,
        connection: Option<ConnectionId>,
        status: Option<u16>,
        outcome: Outcome,
        defect: Option<DefectId>,
    ) -> Event {
        Event {
            id: self.id,
            connection,
            kind,
            received_at: self.received_at,
            ms: milliseconds(self.started.elapsed()),
            status,
            outcome,
            request: self.stored_form(kind),
            defect,
        }
    }

    pub(super) fn event_start(&self) -> EventStart {
        let arrived = self.started.into_std();
        EventStart { id: self.id, received_at: self.received_at, arrived }
    }

    /// The stored form of the request, without headers and body.
    fn stored_form(&self, kind: EventKind) -> ReceivedRequest {
        let query = self.query.as_deref().map(masked_query).unwrap_or_default();
        let path = match kind {
            // The path may contain a valid token in a wrong position.
            EventKind::NoConnection => without_long_segments(&self.path),
            _ => self.without_token(&format!("{}{query}", self.path)),
        };
        ReceivedRequest {
            method: shortened(self.method.as_str(), METHOD_BYTES_MAX),
            path: shortened(&path, PATH_BYTES_MAX),
            ..ReceivedRequest::default()
        }
    }

    /// Adds the headers and the body to the event. Header values that may be credentials are
    /// masked. `credential_header` is the name of one more header whose value is a credential.
    pub(crate) fn with_headers_and_body(
        &self,
        mut event: Event,
        credential_header: Option<&str>,
    ) -> Event {
        let headers = self.headers.iter().take(HEADERS_MAX).map(|(name, value)| {
            let text = String::from_utf8_lossy(value.as_bytes());
            let is_credential = credential_header == Some(name.as_str());
            let value = self.without_token(&masked_header(name, &text, is_credential));
            let name = self.without_token(name.as_str());
            (shortened(&name, NAME_BYTES_MAX), shortened(&value, VALUE_BYTES_MAX))
        });
        event.request.headers = headers.collect();
        let text = &self.body.text;
        let stored_body = || shortened(&self.without_token(text), BODY_BYTES_MAX);
        event.request.body = (!text.is_empty()).then(stored_body);
        event
    }

    /// Replaces the token of this request in a text. A header may contain the token too, because
    /// some proxies add headers that repeat the path.
    fn without_token(&self, text: &str) -> String {
        if self.token.is_empty() { text.to_owned() } else { text.replace(&self.token, "…") }
    }
}

/// Replaces each segment of a path that has 20 characters or more, because it may be a token.
fn without_long_segments(path: &str) -> String {
    let masked = |segment: &str| {
        if segment.chars().count() < 20 { segment.to_owned() } else { "…".to_owned() }
    };
    path.split('/').map(masked).collect::<Vec<_>>().join("/")
}

/// Replaces each value of a query by its length, because the value may be a credential. A name that
/// is long or has no value is also replaced, because it may be a credential too.
fn masked_query(query: &str) -> String {
    let masked_value = |text: &str| format!("({} characters)", text.chars().count());
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if name.chars().count() < 20 => {
            format!("{name}={}", masked_value(value))
        }
        _ => masked_value(pair),
    });
    format!("?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// Masks the query in a header's value. If the value is a credential, or the header's name contains
/// a word for credentials, only a known authentication scheme and the length of the rest remain.
fn masked_header(name: &HeaderName, value: &str, is_credential: bool) -> String {
    if !is_credential && !CREDENTIAL_WORDS.iter().any(|word| name.as_str().contains(word)) {
        // Some proxies add headers that repeat the address of the request, with its query.
        return match value.split_once('?') {
            Some((path, query)) => format!("{path}{}", masked_query(query)),
            None => value.to_owned(),
        };
    }
    let is_scheme = |word: &str| SCHEMES.iter().any(|known| word.eq_ignore_ascii_case(known));
    match value.split_once(' ') {
        Some((scheme, rest)) if name.as_str().contains("auth") && is_scheme(scheme) => {
            format!("{scheme} ({} characters)", rest.chars().count())
        }
        _ => format!("({} characters)", value.chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;
    use crate::domain::OutcomeCode;

    fn request(uri: &str) -> WebhookRequest {
        let (parts, ()) = Request::builder()
            .uri(uri)
            .header("authorization", "Bearer very-secret")
            .header("x-api-key", "very-secret")
            .header("x-original-uri", uri)
            .header("x-tm", "forty-two")
            .body(())
            .unwrap()
            .into_parts();
        let id = EventId::fresh();
        let token_and_path = token_and_path(parts.uri.path());
        WebhookRequest::new(
            id,
            token_and_path,
            parts,
            ReadBody::default(),
            Timestamp::UNIX_EPOCH,
            Instant::now(),
        )
    }

    #[test]
    fn a_path_is_split_into_the_token_and_the_path_below_it() {
        for (uri, token, path) in [
            ("/hooks", "", ""),
            ("/hooks/", "", ""),
            ("/hooks/abc", "abc", ""),
            ("/hooks/abc/", "abc", "/"),
            ("/hooks/abc/api/defects?x=1", "abc", "/api/defects"),
        ] {
            let request = request(uri);
            assert_eq!((request.token.as_str(), request.path.as_str()), (token, path), "{uri}");
        }
    }

    #[test]
    fn the_values_of_a_query_are_masked() {
        assert_eq!(
            masked_query("code=s3cret&a=&s3cret"),
            "?code=(6 characters)&a=(0 characters)&(6 characters)"
        );
    }

    #[test]
    fn an_event_stores_only_the_beginning_of_a_long_text() {
        let mut request = request(&format!("/hooks/t0ken/{}", "p".repeat(60_000)));
        for n in 0..99 {
            let name: HeaderName = format!("x-{}{n}", "n".repeat(9_000)).parse().unwrap();
            request.headers.insert(name, "v".repeat(9_000).parse().unwrap());
        }
        request.body.text = "\0".repeat(64 * 1024);
        let outcome = OutcomeCode::NotFound.into();
        let event = request.event(EventKind::Unrecognised, None, Some(404), outcome, None);
        let event = request.with_headers_and_body(event, None);
        let text = format!("{:?}", event.request);
        assert!(text.len() < 40_000 && text.contains("65536 bytes"), "{}", text.len());
    }

    #[test]
    fn a_credential_in_the_position_of_the_authentication_scheme_is_masked() {
        let masked = |value| masked_header(&http::header::AUTHORIZATION, value, false);
        assert_eq!(masked("AWS4-HMAC-SHA256 ab"), "AWS4-HMAC-SHA256 (2 characters)");
        assert_eq!(masked("hunter2 a"), "(9 characters)");
    }

    #[test]
    fn an_event_stores_neither_the_token_nor_other_credentials() {
        let request = request("/hooks/t0ken/new/way?x=1");
        let outcome = || Outcome::from(OutcomeCode::NotFound);
        let event = request.event(EventKind::Unrecognised, None, Some(404), outcome(), None);
        let event = request.with_headers_and_body(event, Some("x-tm"));
        assert_eq!(event.request.path, "/new/way?x=(1 characters)");
        let text = format!("{event:?}");
        for kept in ["Bearer (11 characters)", "\"(11 characters)\"", "x-tm"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert!(!text.contains("very-secret") && !text.contains("t0ken"), "{text}");
        assert!(!text.contains("forty-two"), "a header that the connection names: {text}");
        let unmatched = request.event(EventKind::NoConnection, None, Some(404), outcome(), None);
        assert!(unmatched.request.headers.is_empty());
        let misplaced_token =
            self::request("/hooks//AbCdEfGhIjKlMnOpQrStUvWxYz/defects?token=secret");
        let misplaced_token =
            misplaced_token.event(EventKind::NoConnection, None, Some(404), outcome(), None);
        assert_eq!(misplaced_token.request.path, "/…/defects");
    }
}
