//! Adds security headers to answers. They forbid browsers to load or run anything, and to show the
//! answer in a frame. This module never replaces a header that a handler has set.

use axum::http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The content security policy of answers for which the handler sets none.
const POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static HEADERS: [(HeaderName, HeaderValue); 4] = [
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];
/// The value of `Strict-Transport-Security`: browsers use only https for half a year. Subdomains
/// are not included, because they may belong to other services.
static HSTS: HeaderValue = HeaderValue::from_static("max-age=15768000");

/// Adds the security headers that an answer does not have yet. `is_https`: whether the client used
/// TLS.
pub(super) fn add(headers: &mut HeaderMap, is_https: bool) {
    for (name, value) in &HEADERS {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    if is_https {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| HSTS.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_a_handler_are_not_replaced_and_hsts_is_sent_only_over_tls() {
        let handler_policy = HeaderValue::from_static("default-src 'self'");
        let mut headers = HeaderMap::from_iter([(CONTENT_SECURITY_POLICY, handler_policy.clone())]);
        add(&mut headers, false);
        assert_eq!(headers[CONTENT_SECURITY_POLICY], handler_policy);
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY));
        add(&mut headers, true);
        assert!(headers.contains_key(STRICT_TRANSPORT_SECURITY));
    }
}
