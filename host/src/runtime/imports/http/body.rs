//! Encodes the body of a request, charges the body to the run, and sets the header `Content-Type`.
//! Never sends the request.

use std::sync::Arc;

use bytes::Bytes;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::domain::Limits;
use crate::egress::{HttpError, body_too_large};
use crate::memory::Account;

use super::multipart::{self, Part};

/// The body of a guest's request before it is encoded.
pub(super) enum Body {
    /// Bytes that are sent unchanged.
    Bytes(Vec<u8>),
    Json(String),
    Form(Vec<(String, String)>),
    Multipart(Vec<Part>),
    /// The content of an attachment of the report, and its media type. The content is already
    /// charged to the run.
    Attachment(Bytes, String),
}

/// Encodes a body. Adds the header `Content-Type`, unless the guest has set it or the body is plain
/// bytes. For a multipart body, only the host may set this header.
pub(super) fn encode(
    body: Body,
    headers: &mut Vec<(String, String)>,
    memory: &Arc<Account>,
    limits: &Limits,
) -> Result<Bytes, HttpError> {
    match body {
        Body::Bytes(bytes) => Ok(memory.charge_body(bytes)?),
        Body::Json(text) => {
            set_content_type(headers, "application/json");
            Ok(memory.charge_body(text.into_bytes())?)
        }
        Body::Form(fields) => {
            set_content_type(headers, "application/x-www-form-urlencoded");
            let texts = || fields.iter().flat_map(|(name, value)| [name, value]);
            let input_bytes = texts().map(String::len).sum::<usize>() + 2 * fields.len();
            let encoded = texts().flat_map(|text| byte_serialize(text.as_bytes()));
            let body_bytes = encoded.map(str::len).sum::<usize>() + 2 * fields.len();
            let build = || encode_form(&fields, body_bytes);
            build_and_charge_body(input_bytes, body_bytes, memory, limits, build)
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
            multipart::check_parts(&parts)?;
            let boundary = multipart::choose_boundary(&parts)?;
            set_content_type(headers, &format!("multipart/form-data; boundary={boundary}"));
            let body_bytes = multipart::encoded_bytes(&parts, &boundary);
            let build = || multipart::encode_parts(&parts, &boundary, body_bytes);
            // The contents of the parts are already charged, so the input counts as 0 bytes here.
            build_and_charge_body(0, body_bytes, memory, limits, build)
        }
    }
}

/// Builds a body whose size is known. First charges the body, and the guest's data from which it is
/// built, to the run.
fn build_and_charge_body(
    input_bytes: usize,
    body_bytes: usize,
    memory: &Arc<Account>,
    limits: &Limits,
    build: impl FnOnce() -> Vec<u8>,
) -> Result<Bytes, HttpError> {
    if body_bytes as u64 > limits.request_body_bytes {
        return Err(body_too_large(limits));
    }
    let mut charge = memory.charge((input_bytes + body_bytes) as u64)?;
    let body = build();
    charge.set(body.capacity() as u64)?;
    Ok(charge.bind_to_body(body.into()))
}

fn encode_form(fields: &[(String, String)], body_bytes: usize) -> Vec<u8> {
    Serializer::new(String::with_capacity(body_bytes)).extend_pairs(fields).finish().into_bytes()
}

fn content_type(headers: &[(String, String)]) -> Option<&str> {
    let mut headers = headers.iter();
    let header = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    header.map(|(_, value)| value.as_str())
}

/// Adds the header `Content-Type`, unless the guest has set it.
fn set_content_type(headers: &mut Vec<(String, String)>, kind: &str) {
    if content_type(headers).is_none() {
        headers.push(("content-type".to_owned(), kind.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode_with_type(body: Body, kind: Option<&str>) -> Result<(String, String), HttpError> {
        let memory = Account::for_test(1 << 20);
        let mut headers: Vec<_> =
            kind.into_iter().map(|kind| ("Content-Type".to_owned(), kind.to_owned())).collect();
        let limits = Limits { request_body_bytes: 1_000, ..Limits::default() };
        let bytes = encode(body, &mut headers, &memory, &limits)?;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Ok((content_type(&headers).unwrap_or_default().to_owned(), text))
    }

    fn form_body(name: &str, value: &str) -> Body {
        Body::Form(vec![(name.to_owned(), value.to_owned()), ("x".to_owned(), "y".to_owned())])
    }

    fn part(content: &str) -> Part {
        let content = Bytes::copy_from_slice(content.as_bytes());
        Part { name: "n".to_owned(), file_name: None, media_type: None, content }
    }

    #[test]
    fn the_host_sets_the_content_type_of_a_body_unless_the_guest_set_it() {
        let (kind, text) = encode_with_type(Body::Json("{\"ü\":1}".to_owned()), None).unwrap();
        assert_eq!((kind.as_str(), text.as_str()), ("application/json", "{\"ü\":1}"));
        let (kind, _) =
            encode_with_type(Body::Json("{}".to_owned()), Some("application/x+json")).unwrap();
        assert_eq!(kind, "application/x+json");
        let (kind, text) = encode_with_type(form_body("a b", "ü&="), None).unwrap();
        assert_eq!(kind, "application/x-www-form-urlencoded");
        assert_eq!(text, "a+b=%C3%BC%26%3D&x=y");
        assert_eq!(encode_with_type(Body::Bytes(b"x".to_vec()), None).unwrap().0, "");
        let (kind, text) = encode_with_type(Body::Multipart(vec![part("hello")]), None).unwrap();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
        assert!(text.ends_with(&format!("\r\n\r\nhello\r\n--{boundary}--\r\n")), "{text}");
    }

    #[test]
    fn a_guest_cannot_set_the_content_type_of_a_multipart_body() {
        let refused = encode_with_type(Body::Multipart(vec![part("x")]), Some("multipart/mixed"));
        assert!(matches!(refused, Err(HttpError::Invalid(_))));
    }

    #[test]
    fn a_body_over_its_limit_is_refused_before_it_is_built() {
        for body in
            [form_body("ü", &"ü".repeat(200)), Body::Multipart(vec![part(&"x".repeat(900))])]
        {
            let refused = encode_with_type(body, None).unwrap_err().to_string();
            assert!(refused.contains("`limits.request_body_bytes` = 1000"), "{refused}");
        }
    }
}
