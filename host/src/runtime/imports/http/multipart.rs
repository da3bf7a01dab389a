//! `multipart/form-data`: the frame around the parts of a body.
//!
//! Names that trackers would read differently are refused, so nothing is escaped.

use aho_corasick::AhoCorasick;
use bytes::Bytes;
use uuid::Uuid;

use crate::egress::HttpError;

/// One part of a body.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) file_name: Option<String>,
    pub(super) media_type: Option<String>,
    /// The content of the part, charged to the run.
    pub(super) content: Bytes,
}

/// Maximum number of parts of a body.
const PARTS_MAX: usize = 1_000;
/// Maximum number of boundaries that are tried.
const BOUNDARIES_MAX: usize = 4;
/// The media type of a file if the guest gives none.
const FILE_TYPE: &str = "application/octet-stream";

/// Refuses names, file names and media types that could break the frame.
pub(super) fn check(parts: &[Part]) -> Result<(), HttpError> {
    if parts.is_empty() || parts.len() > PARTS_MAX {
        let count = parts.len();
        let why = format!("a multipart body has 1 to {PARTS_MAX} parts, this one has {count}");
        return Err(HttpError::Invalid(why));
    }
    let texts =
        |part: &'_ Part| [Some(part.name.clone()), part.file_name.clone(), part.media_type.clone()];
    let breaks = |text: &String| text.contains(|c: char| c.is_control() || matches!(c, '"' | '\\'));
    match parts.iter().flat_map(texts).flatten().find(breaks) {
        None => Ok(()),
        Some(text) => Err(HttpError::Invalid(format!(
            "{text:?} cannot be the name, the file name or the media type of a part: it has a \
             control character, a quote or a backslash"
        ))),
    }
}

/// A boundary that no content contains.
pub(super) fn boundary(parts: &[Part]) -> Result<String, HttpError> {
    let fresh = || format!("jackfield-{}", Uuid::new_v4().simple());
    unused(std::iter::repeat_with(fresh).take(BOUNDARIES_MAX), parts)
        .ok_or_else(|| HttpError::Invalid("a part contains every boundary of its body".to_owned()))
}

/// The first of these boundaries that no content contains.
fn unused(mut boundaries: impl Iterator<Item = String>, parts: &[Part]) -> Option<String> {
    boundaries.find(|boundary| {
        AhoCorasick::new([boundary])
            .is_ok_and(|search| !parts.iter().any(|part| search.is_match(&part.content)))
    })
}

/// The number of bytes that [`frame`] returns.
pub(super) fn framed_bytes(parts: &[Part], boundary: &str) -> usize {
    let parts_bytes: usize = parts.iter().map(|part| part.content.len() + head(part).len()).sum();
    parts_bytes + (parts.len() + 1) * (boundary.len() + 6)
}

/// The body, whose size is known.
pub(super) fn frame(parts: &[Part], boundary: &str, body_bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(body_bytes);
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n{}", head(part)).as_bytes());
        body.extend_from_slice(&part.content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

/// The headers of a part and the empty line after them.
fn head(part: &Part) -> String {
    let mut head = format!("Content-Disposition: form-data; name=\"{}\"", part.name);
    if let Some(name) = &part.file_name {
        head += &format!("; filename=\"{name}\"");
    }
    let default = part.file_name.as_ref().map(|_| FILE_TYPE);
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
    fn parts_are_framed_in_their_order() {
        let parts = [
            part("payload", None, Some("application/json"), text("{}")),
            part("file", Some("Bild ü.png"), None, Bytes::from_static(b"\x00\r\n\xff")),
            part("note", None, None, text("")),
        ];
        let framed = frame(&parts, "b", 0);
        let expected = [
            &b"--b\r\nContent-Disposition: form-data; name=\"payload\"\r\n"[..],
            b"Content-Type: application/json\r\n\r\n{}\r\n",
            b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"Bild \xc3\xbc.png\"\r\n",
            b"Content-Type: application/octet-stream\r\n\r\n\x00\r\n\xff\r\n",
            b"--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n\r\n--b--\r\n",
        ];
        assert_eq!(framed, expected.concat());
        assert_eq!(framed.len(), framed_bytes(&parts, "b"));
    }

    #[test]
    fn a_text_that_could_break_the_frame_is_refused() {
        let name = "evil\r\nX: y";
        let refused = [
            part(name, None, None, text("")),
            part("a\"; filename=\"b", None, None, text("")),
            part("a", Some("b\\"), None, text("")),
            part("a", Some("b\u{85}"), None, text("")),
            part("a", None, Some("text/plain\n\nbody"), text("")),
        ];
        for part in refused {
            assert!(matches!(check(&[part]), Err(HttpError::Invalid(_))));
        }
        assert!(check(&[part("a", Some("ü'.png"), Some("text/plain"), text(name))]).is_ok());
        assert!(check(&[]).is_err());
    }

    #[test]
    fn a_boundary_does_not_occur_in_a_content() {
        let boundaries = || ["one", "two", "three"].into_iter().map(str::to_owned);
        let parts = [part("a", None, None, text("x one")), part("b", None, None, text("--two--"))];
        assert_eq!(unused(boundaries(), &parts).as_deref(), Some("three"));
        assert_eq!(unused(boundaries().take(2), &parts), None);
    }
}
