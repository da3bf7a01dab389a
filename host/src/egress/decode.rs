//! The content encodings of one answer, as servers really send them: the label may be unknown,
//! repeated, or wrong, and bytes may follow the end of the compressed data.
//!
//! If data does not match its label but is text, it counts as not encoded, because redaction can
//! find secrets in a text.

use std::io;

use http::header::{CONTENT_ENCODING, HeaderMap, TRANSFER_ENCODING};

use super::inflate::{Inflate, Kind, inflates};

/// Maximum number of encodings of one answer.
const LAYERS_MAX: usize = 3;
/// How many bytes are needed to detect the format of the data.
const HEAD_BYTES: usize = 1024;

/// The reason why a body cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// The data is damaged or cut off.
    #[error("the response body cannot be decompressed: {0}")]
    Decompress(#[from] io::Error),
    /// The host does not know the encoding, and the body is not text, so redaction could not find
    /// secrets in it.
    #[error("the response has the unsupported content encoding {0:?}")]
    Unsupported(String),
    /// Too many encodings; this looks like an attack.
    #[error("the response has more than {LAYERS_MAX} content encodings")]
    TooMany,
}

/// One encoding of an answer.
pub(super) struct Layer {
    label: String,
    state: State,
}

enum State {
    /// The data that has arrived; too short to detect its format.
    Undecided(Vec<u8>),
    Inflate(Inflate),
    Text(Text),
}

/// The encodings of an answer with these headers, in the order in which they are decoded.
///
/// # Errors
/// There are too many.
pub(super) fn layers(headers: &HeaderMap) -> Result<Vec<Layer>, DecodeError> {
    let named = [CONTENT_ENCODING, TRANSFER_ENCODING].into_iter();
    let values = named.flat_map(|name| headers.get_all(name)).map(|value| value.as_bytes());
    let labels = values.flat_map(|value| value.split(|byte| *byte == b',')).map(label);
    let labels: Vec<_> = labels
        .filter(|label| !matches!(label.as_str(), "" | "identity" | "chunked"))
        .take(LAYERS_MAX + 1)
        .collect();
    if labels.len() > LAYERS_MAX {
        return Err(DecodeError::TooMany);
    }
    let layer = |label| Layer { label, state: State::Undecided(Vec::new()) };
    Ok(labels.into_iter().rev().map(layer).collect())
}

/// The name of an encoding in lower case, without parameters and quotes.
fn label(text: &[u8]) -> String {
    let name = text.split(|byte| *byte == b';').next().unwrap_or_default();
    String::from_utf8_lossy(name).trim().trim_matches('"').to_ascii_lowercase()
}

impl Layer {
    /// Decodes a piece and returns the bytes that this piece and earlier ones produced.
    pub(super) fn decode(&mut self, piece: &[u8]) -> Result<Vec<u8>, DecodeError> {
        match &mut self.state {
            State::Undecided(head) => {
                head.extend_from_slice(piece);
                if head.len() < HEAD_BYTES { Ok(Vec::new()) } else { self.decide(false) }
            }
            State::Inflate(inflate) => Ok(inflate.decode(piece)?),
            State::Text(text) => {
                if text.accepts(piece) {
                    Ok(piece.to_vec())
                } else {
                    Err(self.not_decodable())
                }
            }
        }
    }

    /// Ends the data, and returns the rest. Compressed data that is cut off is an error.
    pub(super) fn finish(&mut self) -> Result<Vec<u8>, DecodeError> {
        let mut rest = Vec::new();
        if let State::Undecided(head) = &self.state
            && !head.is_empty()
        {
            rest = self.decide(true)?;
        }
        match &mut self.state {
            State::Undecided(_) => {}
            State::Inflate(inflate) => rest.append(&mut inflate.finish()?),
            State::Text(text) if text.is_complete() => {}
            State::Text(_) => return Err(self.not_decodable()),
        }
        Ok(rest)
    }

    /// Detects the format of the data from its beginning, and decodes this beginning.
    fn decide(&mut self, is_whole: bool) -> Result<Vec<u8>, DecodeError> {
        let State::Undecided(head) = &mut self.state else { return Ok(Vec::new()) };
        let head = std::mem::take(head);
        let kinds: &[Kind] = match self.label.as_str() {
            "gzip" | "x-gzip" => &[Kind::Gzip, Kind::Zlib],
            "deflate" | "x-deflate" => &[Kind::Zlib, Kind::Gzip, Kind::Raw],
            _ => &[],
        };
        let kind = kinds.iter().find(|kind| inflates(**kind, &head, is_whole));
        self.state = match kind {
            Some(kind) => State::Inflate(Inflate::new(*kind)),
            None => State::Text(Text::default()),
        };
        self.decode(&head)
    }

    fn not_decodable(&self) -> DecodeError {
        match self.label.as_str() {
            "gzip" | "x-gzip" | "deflate" | "x-deflate" => {
                let why = format!("it is neither {} nor text", self.label);
                io::Error::new(io::ErrorKind::InvalidData, why).into()
            }
            other => DecodeError::Unsupported(other.to_owned()),
        }
    }
}

/// Checks pieces of a text: UTF-8 without control characters. A piece may end within a character.
#[derive(Default)]
struct Text {
    /// The beginning of a character.
    begun: Vec<u8>,
}

impl Text {
    fn accepts(&mut self, piece: &[u8]) -> bool {
        let is_control = |byte: &u8| {
            (*byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c)) || *byte == 0x7f
        };
        if piece.iter().any(is_control) {
            return false;
        }
        self.begun.extend_from_slice(piece);
        let begun = std::mem::take(&mut self.begun);
        match std::str::from_utf8(&begun) {
            Ok(_) => true,
            Err(error) => {
                self.begun = begun.get(error.valid_up_to()..).unwrap_or_default().to_vec();
                error.error_len().is_none()
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.begun.is_empty()
    }
}
