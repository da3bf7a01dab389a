//! The body of a request: encoded, charged to the run, and named by `Content-Type`.

use std::sync::Arc;

use bytes::Bytes;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::domain::Limits;
use crate::egress::{HttpError, body_too_large};
use crate::memory::Account;

use super::multipart::{self, Part};

/// The body that the guest sends, before it is encoded.
pub(super) enum Body {
    /// Bytes that are sent unchanged.
    Bytes(Vec<u8>),
    Json(String),
    Form(Vec<(String, String)>),
    Multipart(Vec<Part>),
    /// An attachment of the report, charged to the run, and its media type.
    Attachment(Bytes, String),
}

/// The bytes of a body, whose `Content-Type` is added to the headers.
///
/// # Errors
/// The body is malformed or too large, or the run does not have enough memory left.
pub(super) fn encode(
    body: Body,
    headers: &mut Vec<(String, String)>,
    memory: &Arc<Account>,
    limits: &Limits,
) -> Result<Bytes, HttpError> {
    match body {
        Body::Bytes(bytes) => Ok(memory.hold(bytes)?),
        Body::Json(text) => {
            set_content_type(headers, "application/json");
            Ok(memory.hold(text.into_bytes())?)
        }
        Body::Form(fields) => {
            set_content_type(headers, "application/x-www-form-urlencoded");
            let texts = || fields.iter().flat_map(|(name, value)| [name, value]);
            let given = texts().map(String::len).sum::<usize>() + 2 * fields.len();
            let encoded = texts().flat_map(|text| byte_serialize(text.as_bytes()));
            let encoded = encoded.map(str::len).sum::<usize>() + 2 * fields.len();
            build(given, encoded, memory, limits, || form(&fields, encoded))
        }
        Body::Attachment(content, kind) => {
            set_content_type(headers, &kind);
            Ok(content)
        }
        Body::Multipart(parts) => {
            if content_type(headers).is_some() {
                let why = "the host sets the Content-Type of a multipart body; remove this header";
                return Err(HttpError::Invalid(why.to_owned()));
            }
            multipart::check(&parts)?;
            let boundary = multipart::boundary(&parts)?;
            set_content_type(headers, &format!("multipart/form-data; boundary={boundary}"));
            let framed = multipart::framed_bytes(&parts, &boundary);
            // The contents are charged already.
            build(0, framed, memory, limits, || multipart::frame(&parts, &boundary, framed))
        }
    }
}

/// Builds a body of known size. Charges the guest's data and the body before it builds it.
fn build(
    given_bytes: usize,
    body_bytes: usize,
    memory: &Arc<Account>,
    limits: &Limits,
    build: impl FnOnce() -> Vec<u8>,
) -> Result<Bytes, HttpError> {
    if body_bytes as u64 > limits.request_body_bytes {
        return Err(body_too_large(limits));
    }
    let mut charge = memory.charge((given_bytes + body_bytes) as u64)?;
    let body = build();
    charge.set(body.capacity() as u64)?;
    Ok(charge.hold(body.into()))
}

fn form(fields: &[(String, String)], bytes: usize) -> Vec<u8> {
    Serializer::new(String::with_capacity(bytes)).extend_pairs(fields).finish().into_bytes()
}

fn content_type(headers: &[(String, String)]) -> Option<&str> {
    let mut headers = headers.iter();
    let found = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    found.map(|(_, value)| value.as_str())
}

/// Adds the header `Content-Type`, unless the guest set it.
fn set_content_type(headers: &mut Vec<(String, String)>, kind: &str) {
    if content_type(headers).is_none() {
        headers.push(("content-type".to_owned(), kind.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn encoded(body: Body, kind: Option<&str>) -> Result<(String, String), HttpError> {
        let memory = Account::for_test(1 << 20);
        let mut headers: Vec<_> =
            kind.into_iter().map(|kind| ("Content-Type".to_owned(), kind.to_owned())).collect();
        let limits = Limits { request_body_bytes: 1_000, ..Limits::default() };
        let bytes = encode(body, &mut headers, &memory, &limits)?;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Ok((content_type(&headers).unwrap_or_default().to_owned(), text))
    }

    fn form_of(name: &str, value: &str) -> Body {
        Body::Form(vec![(name.to_owned(), value.to_owned()), ("x".to_owned(), "y".to_owned())])
    }

    fn part(content: &str) -> Part {
        let content = Bytes::copy_from_slice(content.as_bytes());
        Part { name: "n".to_owned(), file_name: None, media_type: None, content }
    }

    #[test]
    fn each_body_has_its_content_type_unless_the_guest_set_it() {
        let (kind, text) = encoded(Body::Json("{\"ü\":1}".to_owned()), None).unwrap();
        assert_eq!((kind.as_str(), text.as_str()), ("application/json", "{\"ü\":1}"));
        let (kind, _) = encoded(Body::Json("{}".to_owned()), Some("application/x+json")).unwrap();
        assert_eq!(kind, "application/x+json");
        let (kind, text) = encoded(form_of("a b", "ü&="), None).unwrap();
        assert_eq!(kind, "application/x-www-form-urlencoded");
        assert_eq!(text, "a+b=%C3%BC%26%3D&x=y");
        assert_eq!(encoded(Body::Bytes(b"x".to_vec()), None).unwrap().0, "");
        let (kind, text) = encoded(Body::Multipart(vec![part("hello")]), None).unwrap();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        assert!(text.ends_with(&format!("\r\n\r\nhello\r\n--{boundary}--\r\n")), "{text}");
    }

    #[test]
    fn a_content_type_of_a_multipart_body_is_refused() {
        let refused = encoded(Body::Multipart(vec![part("x")]), Some("multipart/mixed"));
        assert!(matches!(refused, Err(HttpError::Invalid(_))));
    }

    #[test]
    fn a_body_over_its_limit_is_refused_before_it_is_built() {
        for body in [form_of("ü", &"ü".repeat(200)), Body::Multipart(vec![part(&"x".repeat(900))])]
        {
            let refused = encoded(body, None).unwrap_err().to_string();
            assert!(refused.contains("`limits.request_body_bytes` = 1000"), "{refused}");
        }
    }
}
