//! Encodes the parts of a `multipart/form-data` body. Never escapes a name, because trackers decode
//! escaped names differently. Names that would need escapes are refused.

use aho_corasick::AhoCorasick;
use bytes::Bytes;
use uuid::Uuid;

use crate::egress::HttpError;

pub(super) struct Part {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
    pub(super) media_type: Option<String>,
    /// The content of the part, which is already charged to the run.
    pub(super) content: Bytes,
}

/// Maximum number of parts in a body.
const PARTS_MAX: usize = 1_000;
/// Maximum number of random boundaries that are tried.
const BOUNDARY_ATTEMPTS_MAX: usize = 4;
const DEFAULT_FILE_MEDIA_TYPE: &str = "application/octet-stream";

/// Refuses parts whose name, file name or media type could end a header early. Also refuses too
/// many parts, and a body without parts.
pub(super) fn check_parts(parts: &[Part]) -> Result<(), HttpError> {
    if parts.is_empty() || parts.len() > PARTS_MAX {
        let count = parts.len();
        let why =
            format!("a multipart body must have 1 to {PARTS_MAX} parts; this one has {count}");
        return Err(HttpError::Invalid(why));
    }
    let texts =
        |part: &'_ Part| [Some(part.name.clone()), part.file_name.clone(), part.media_type.clone()];
    let is_unsafe =
        |text: &String| text.contains(|c: char| c.is_control() || matches!(c, '"' | '\\'));
    match parts.iter().flat_map(texts).flatten().find(is_unsafe) {
        None => Ok(()),
        Some(text) => Err(HttpError::Invalid(format!(
            "{text:?} cannot be the name, the file name or the media type of a part: it has a \
             control character, a quote or a backslash"
        ))),
    }
}

/// Returns a boundary that is not in the content of any part.
pub(super) fn choose_boundary(parts: &[Part]) -> Result<String, HttpError> {
    let random = || format!("jackfield-{}", Uuid::new_v4().simple());
    let boundaries = std::iter::repeat_with(random).take(BOUNDARY_ATTEMPTS_MAX);
    first_boundary_not_in_parts(boundaries, parts).ok_or_else(|| {
        let why = "cannot choose a boundary: the parts contain every boundary that was tried";
        HttpError::Invalid(why.to_owned())
    })
}

fn first_boundary_not_in_parts(
    mut boundaries: impl Iterator<Item = String>,
    parts: &[Part],
) -> Option<String> {
    boundaries.find(|boundary| {
        AhoCorasick::new([boundary])
            .is_ok_and(|search| !parts.iter().any(|part| search.is_match(&part.content)))
    })
}

/// Computes the size of the body that [`encode_parts`] returns, in bytes.
pub(super) fn encoded_bytes(parts: &[Part], boundary: &str) -> usize {
    let parts_bytes: usize =
        parts.iter().map(|part| part.content.len() + part_head(part).len()).sum();
    parts_bytes + (parts.len() + 1) * (boundary.len() + 6)
}

/// `body_bytes` is the size of the encoded body.
pub(super) fn encode_parts(parts: &[Part], boundary: &str, body_bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(body_bytes);
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n{}", part_head(part)).as_bytes());
        body.extend_from_slice(&part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

fn part_head(part: &Part) -> String {
    let mut head = format!("Content-Disposition: form-data; name=\"{}\"", part.name);
    if let Some(name) = &part.file_name {
        head += &format!("; filename=\"{name}\"");
    }
    let default = part.file_name.as_ref().map(|_| DEFAULT_FILE_MEDIA_TYPE);
    if let Some(kind) = part.media_type.as_deref().or(default) {
        head += &format!("\r\nContent-Type: {kind}");
    }
    head + "\r\n\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, file: Option<&str>, kind: Option<&str>, content: Bytes) -> Part {
        let owned = |text: &str| text.to_owned();
        Part { name: owned(name), file_name: file.map(owned), media_type: kind.map(owned), content }
    }

    fn text(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn parts_are_encoded_in_their_order() {
        let parts = [
            part("payload", None, Some("application/json"), text("{}")),
            part("file", Some("Bild ü.png"), None, Bytes::from_static(b"\x00\r\n\xff")),
            part("note", None, None, text("")),
        ];
        let body = encode_parts(&parts, "b", 0);
        let expected = [
            &b"--b\r\nContent-Disposition: form-data; name=\"payload\"\r\n"[..],
            b"Content-Type: application/json\r\n\r\n{}\r\n",
            b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"Bild \xc3\xbc.png\"\r\n",
            b"Content-Type: application/octet-stream\r\n\r\n\x00\r\n\xff\r\n",
            b"--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n\r\n--b--\r\n",
        ];
        assert_eq!(body, expected.concat());
        assert_eq!(body.len(), encoded_bytes(&parts, "b"));
    }

    #[test]
    fn a_part_with_a_text_that_could_end_a_header_is_refused() {
        let with_line_break = "evil\r\nX: y";
        let refused = [
            part(with_line_break, None, None, text("")),
            part("a\"; filename=\"b", None, None, text("")),
            part("a", Some("b\\"), None, text("")),
            part("a", Some("b\u{85}"), None, text("")),
            part("a", None, Some("text/plain\n\nbody"), text("")),
        ];
        for part in refused {
            assert!(matches!(check_parts(&[part]), Err(HttpError::Invalid(_))));
        }
        assert!(
            check_parts(&[part("a", Some("ü'.png"), Some("text/plain"), text(with_line_break))])
                .is_ok()
        );
        assert!(check_parts(&[]).is_err());
    }

    #[test]
    fn the_chosen_boundary_is_not_in_any_content() {
        let boundaries = || ["one", "two", "three"].into_iter().map(str::to_owned);
        let parts = [part("a", None, None, text("x one")), part("b", None, None, text("--two--"))];
        assert_eq!(first_boundary_not_in_parts(boundaries(), &parts).as_deref(), Some("three"));
        assert_eq!(first_boundary_not_in_parts(boundaries().take(2), &parts), None);
    }
}
