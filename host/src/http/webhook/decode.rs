//! Converts the body of a webhook to text: decompresses the body, and decodes its character set.
//!
//! This module never decompresses a body to more than about twice [`BODY_BYTES_MAX`].

use std::io::{self, Read};

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use flate2::{bufread::GzDecoder, read::DeflateDecoder, read::ZlibDecoder};

use super::body::BODY_BYTES_MAX;

/// The reason why a body could not be converted to a complete text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// The body has more than [`BODY_BYTES_MAX`], either as it was sent or after decompression.
    TooLarge,
    /// The body is incomplete or damaged; the text describes the error.
    Broken(String),
    /// The body has a content encoding that is not supported, or several encodings. The text
    /// contains their names.
    UnknownEncoding(String),
}

/// Converts a body to text. If there is an error, also returns the part that could be converted. If
/// the body cannot be decompressed, the text is made from the compressed bytes.
pub(super) fn decode_body(headers: &HeaderMap, body: &[u8]) -> (String, Option<BodyError>) {
    match decompress(headers, body) {
        Ok(None) => decode_charset(headers, body),
        Ok(Some(bytes)) => decode_charset(headers, &bytes),
        Err(error) => (decode_charset(headers, body).0, Some(error)),
    }
}

/// Returns `None` if the body is empty or not compressed.
fn decompress(headers: &HeaderMap, body: &[u8]) -> Result<Option<Vec<u8>>, BodyError> {
    let coding = content_coding(headers);
    if body.is_empty() || coding.is_empty() {
        return Ok(None);
    }
    let decompressed = match coding.as_str() {
        "gzip" | "x-gzip" => gunzip(body),
        "deflate" if has_zlib_header(body) => read_up_to_limit(ZlibDecoder::new(body)),
        "deflate" => read_up_to_limit(DeflateDecoder::new(body)),
        _ => return Err(BodyError::UnknownEncoding(coding)),
    };
    match decompressed {
        Ok(text) if text.len() > BODY_BYTES_MAX => Err(BodyError::TooLarge),
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(BodyError::Broken(format!("the body is not complete {coding}: {error}"))),
    }
}

/// The content encodings in lower case; empty if the headers contain none. `identity` is ignored,
/// because it changes nothing; and `utf-8`, because some senders put the character set into this
/// header.
fn content_coding(headers: &HeaderMap) -> String {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let lists = values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let codings: Vec<String> = lists
        .flat_map(|list| list.split(',').map(|coding| coding.trim().to_owned()).collect::<Vec<_>>())
        .filter(|coding| !["", "identity", "utf-8", "utf8"].contains(&coding.as_str()))
        .collect();
    codings.join(", ")
}

/// Decompresses a gzip file, which may have several members. Zero bytes after the last member are
/// ignored.
fn gunzip(mut body: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        text.extend(read_up_to_limit(GzDecoder::new(&mut body))?);
        if text.len() > BODY_BYTES_MAX || body.iter().all(|byte| *byte == 0) {
            return Ok(text);
        }
    }
}

/// Reads from a decoder up to one byte more than [`BODY_BYTES_MAX`].
fn read_up_to_limit(decoder: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let bytes_max = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(bytes_max).read_to_end(&mut text)?;
    Ok(text)
}

/// Whether a body begins with a zlib header. The standard requires this header for `deflate`, but
/// some senders omit it.
fn has_zlib_header(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..]
        if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

/// Converts a decompressed body to text. A byte order mark takes precedence over the character set
/// in the content type. If the character set is missing or unknown, [`detect_unicode`] selects one.
fn decode_charset(headers: &HeaderMap, bytes: &[u8]) -> (String, Option<BodyError>) {
    let encoding = declared_charset(headers).unwrap_or_else(|| detect_unicode(bytes));
    let (text, encoding, is_damaged) = encoding.decode(bytes);
    let error = || BodyError::Broken(format!("the body is not {}", encoding.name()));
    (text.into_owned(), is_damaged.then(error))
}

fn declared_charset(headers: &HeaderMap) -> Option<&'static Encoding> {
    let content_type = String::from_utf8_lossy(headers.get(CONTENT_TYPE)?.as_bytes());
    let mut parameters =
        content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, label) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Encoding::for_label(label.trim().trim_matches(['"', '\'']).as_bytes())
}

/// Detects whether a body is UTF-16 or UTF-8. The default is UTF-8 (RFC 8259). JSON begins with an
/// ASCII character, so exactly one zero byte among the first two bytes means UTF-16 (RFC 4627,
/// section 3).
fn detect_unicode(bytes: &[u8]) -> &'static Encoding {
    match bytes {
        [0, second, ..] if *second != 0 => UTF_16BE,
        [first, 0, ..] if *first != 0 => UTF_16LE,
        _ => UTF_8,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use axum::http::HeaderName;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn decompressed(coding: &str, body: &[u8]) -> (String, Option<BodyError>) {
        decode_body(&headers(&[(CONTENT_ENCODING, coding)]), body)
    }

    #[test]
    fn a_compressed_body_is_decompressed() {
        let text = "{\"a\": 1}";
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(text.as_bytes()).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(text.as_bytes()).unwrap();
        let (first, second) = text.split_at(3);
        let members = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
        for (coding, body) in [
            ("gzip", gzip(text.as_bytes())),
            ("GZip", members),
            ("x-gzip", [gzip(text.as_bytes()), vec![0; 9]].concat()),
            ("deflate", raw.finish().unwrap()),
            ("identity, deflate", zlib.finish().unwrap()),
            ("identity", text.as_bytes().to_vec()),
            ("", text.as_bytes().to_vec()),
            ("utf-8", text.as_bytes().to_vec()),
        ] {
            assert_eq!(decompressed(coding, &body), (text.to_owned(), None), "{coding}");
        }
        assert_eq!(decompressed("br", b""), (String::new(), None), "the body of a probe is empty");
    }

    #[test]
    fn a_body_that_cannot_be_decompressed_is_an_error() {
        let whole = gzip(&[b' '; 100]);
        for cut in [&whole[..whole.len() - 1], &whole[..12], b"{}"] {
            assert!(matches!(decompressed("gzip", cut).1, Some(BodyError::Broken(_))), "{cut:?}");
        }
        assert_eq!(decompressed("gzip", &gzip(&[b' '; BODY_BYTES_MAX])).1, None);
        let bomb = gzip(&vec![b' '; 60 << 20]);
        assert!(bomb.len() < BODY_BYTES_MAX);
        assert_eq!(decompressed("gzip", &bomb).1, Some(BodyError::TooLarge));
        let many = gzip(&[b' '; BODY_BYTES_MAX / 4]).repeat(5);
        assert_eq!(decompressed("gzip", &many).1, Some(BodyError::TooLarge));
        for coding in ["br", "zstd", "gzip, gzip"] {
            let unknown = Some(BodyError::UnknownEncoding(coding.to_owned()));
            assert_eq!(decompressed(coding, b"{}"), ("{}".to_owned(), unknown), "{coding}");
        }
    }

    #[test]
    fn a_body_is_read_in_the_character_set_of_its_sender() {
        let decoded = |content_type: &str, bytes: &[u8]| {
            decode_body(&headers(&[(CONTENT_TYPE, content_type)]), bytes)
        };
        let little: Vec<u8> = "{\"ä\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "{\"ä\"}".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = [b"\xff\xfe", &little[..]].concat();
        for (content_type, bytes) in [
            ("application/json", "{\"ä\"}".as_bytes()),
            ("application/json; charset=utf-8", "\u{feff}{\"ä\"}".as_bytes()),
            ("text/plain; charset=\"UTF-8\"", "{\"ä\"}".as_bytes()),
            ("text/plain; charset=unknown", "{\"ä\"}".as_bytes()),
            ("text/plain;charset=iso-8859-1", b"{\"\xe4\"}"),
            ("text/plain; charset=utf-16", &little),
            ("text/plain; charset=utf-16BE", &big),
            ("text/plain; charset=utf-8", &marked),
            ("text/plain", &little),
            ("text/plain", &big),
        ] {
            assert_eq!(
                decoded(content_type, bytes),
                ("{\"ä\"}".to_owned(), None),
                "{content_type}"
            );
        }
        let (text, error) = decoded("application/json", b"{\"a\":\"\xff\"}");
        assert_eq!(text, "{\"a\":\"\u{fffd}\"}");
        assert_eq!(error, Some(BodyError::Broken("the body is not UTF-8".to_owned())));
    }
}
