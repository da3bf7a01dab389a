//! Decodes the body of a response into a text, if the body is a text. Never changes other bodies.

use encoding_rs::{Encoding, UTF_8};

use crate::egress::HttpError;
use crate::memory::Charge;

/// The decoder makes at most this number of UTF-8 bytes from one byte of another charset.
const UTF_8_GROWTH: u64 = 3;

pub(super) struct DecodedBody {
    /// The text. `None` if the body is not a text.
    pub(super) text: Option<String>,
    pub(super) bytes: Vec<u8>,
    pub(super) charge: Charge,
}

/// Decodes a body if its `Content-Type` is a text type with a known charset. Without a charset, a
/// text type counts as UTF-8. A body without a `Content-Type` is decoded if it is UTF-8. `redact`
/// removes the secrets that could not be found earlier because the body had another charset.
pub(super) fn decode(
    headers: &[(String, String)],
    body: Vec<u8>,
    mut charge: Charge,
    redact: impl FnOnce(String) -> String,
) -> Result<DecodedBody, HttpError> {
    let kind = headers.iter().find(|(name, _)| name == "content-type");
    let encoding = match kind {
        Some((_, kind)) => text_encoding(kind),
        None => Some(UTF_8),
    };
    let Some(encoding) = encoding else {
        return Ok(DecodedBody { text: None, bytes: body, charge });
    };
    let bytes = match String::from_utf8(body) {
        Ok(text) if encoding == UTF_8 => {
            let text = without_byte_order_mark(text);
            return Ok(DecodedBody { text: Some(text), bytes: Vec::new(), charge });
        }
        Err(error) if kind.is_none() => {
            return Ok(DecodedBody { text: None, bytes: error.into_bytes(), charge });
        }
        Ok(text) => text.into_bytes(),
        Err(error) => error.into_bytes(),
    };
    charge.grow(bytes.len() as u64 * UTF_8_GROWTH)?;
    let text = redact(encoding.decode(&bytes).0.into_owned());
    charge.set(text.capacity() as u64)?;
    Ok(DecodedBody { text: Some(text), bytes: Vec::new(), charge })
}

fn text_encoding(content_type: &str) -> Option<&'static Encoding> {
    let mut segments = content_type.split(';').map(str::trim);
    let kind = segments.next().unwrap_or_default().to_ascii_lowercase();
    let subtype = kind.split('/').next_back().unwrap_or_default();
    let is_text = kind.starts_with("text/")
        || ["json", "xml", "javascript", "x-www-form-urlencoded"].contains(&subtype)
        || subtype.ends_with("+json")
        || subtype.ends_with("+xml");
    if !is_text {
        return None;
    }
    let charset = segments.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    charset.map_or(Some(UTF_8), |label| Encoding::for_label(label.as_bytes()))
}

fn without_byte_order_mark(mut text: String) -> String {
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Account;

    fn decoded_text(kind: Option<&str>, body: &[u8]) -> Option<String> {
        let headers: Vec<_> =
            kind.into_iter().map(|kind| ("content-type".to_owned(), kind.to_owned())).collect();
        let charge = Account::for_test(1 << 20).charge(body.len() as u64).unwrap();
        let redact = |text: String| text.replace("s3cr3t", "[secret]");
        let decoded = decode(&headers, body.to_vec(), charge, redact).unwrap();
        assert_eq!(decoded.bytes, if decoded.text.is_some() { b"" } else { body });
        decoded.text
    }

    #[test]
    fn a_text_is_decoded_with_its_charset_and_its_byte_order_mark_is_removed() {
        assert_eq!(decoded_text(Some("application/json"), b"\xef\xbb\xbf{}").unwrap(), "{}");
        assert_eq!(decoded_text(Some("text/html; Charset=\"ISO-8859-1\""), b"\xfc").unwrap(), "ü");
        assert_eq!(
            decoded_text(Some("text/xml;charset=utf-16le"), b"\xff\xfea\0b\0").unwrap(),
            "ab"
        );
        assert_eq!(decoded_text(Some("application/hal+json"), "ü".as_bytes()).unwrap(), "ü");
        assert_eq!(decoded_text(Some("text/plain"), b"a\xff").unwrap(), "a\u{fffd}");
        assert_eq!(decoded_text(None, "ü".as_bytes()).unwrap(), "ü");
        assert_eq!(decoded_text(None, b"").unwrap(), "");
    }

    #[test]
    fn a_body_that_is_not_text_is_not_decoded() {
        let kinds = ["image/png", "application/octet-stream", "text/html; charset=klingon", ""];
        for kind in kinds {
            assert_eq!(decoded_text(Some(kind), b"a\xff"), None, "{kind}");
        }
        let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
        assert_eq!(decoded_text(Some(docx), b"PK"), None);
        assert_eq!(decoded_text(None, b"a\xff"), None);
    }

    #[test]
    fn a_secret_in_another_charset_is_redacted_after_decoding() {
        let hidden: Vec<u8> = "s3cr3t".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(
            decoded_text(Some("text/plain; charset=utf-16le"), &hidden).unwrap(),
            "[secret]"
        );
    }
}
