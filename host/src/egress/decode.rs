//! Decodes the content encodings of one answer.
//!
//! Servers do not always follow the standard. If data does not have the format that its header
//! names, but is a text, it counts as not encoded. Such data may be returned, because redaction can
//! find secrets in a text. Never returns other data that could not be decoded.

use std::io;

use http::header::{CONTENT_ENCODING, HeaderMap, TRANSFER_ENCODING};

use super::inflate::{CompressionFormat, Inflater, has_format};

/// Maximum number of encodings that one answer may have.
const ENCODINGS_MAX: usize = 3;
/// How many bytes are collected before the format of the data is detected, unless the data ends
/// earlier.
const DETECTION_BYTES: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("the response body cannot be decompressed: {0}")]
    Decompress(#[from] io::Error),
    /// The host does not support the encoding, and the body is not a text.
    #[error("the response has the unsupported content encoding {0:?}")]
    Unsupported(String),
    /// More than `ENCODINGS_MAX` encodings may be an attack.
    #[error("the response has more than {ENCODINGS_MAX} content encodings")]
    TooMany,
}

pub(super) struct EncodingLayer {
    /// The name of the encoding in the header of the answer.
    label: String,
    state: LayerState,
}

enum LayerState {
    /// The data that has arrived so far. It is not enough to detect the format.
    Undecided(Vec<u8>),
    Compressed(Inflater),
    Text(TextCheck),
}

/// Returns the encodings that these headers name, except `identity` and `chunked`, in the order in
/// which they must be decoded.
pub(super) fn encoding_layers(headers: &HeaderMap) -> Result<Vec<EncodingLayer>, DecodeError> {
    let header_names = [CONTENT_ENCODING, TRANSFER_ENCODING].into_iter();
    let values = header_names.flat_map(|name| headers.get_all(name)).map(|value| value.as_bytes());
    let labels = values.flat_map(|value| value.split(|byte| *byte == b',')).map(encoding_name);
    let labels: Vec<_> = labels
        .filter(|label| !matches!(label.as_str(), "" | "identity" | "chunked"))
        .take(ENCODINGS_MAX + 1)
        .collect();
    if labels.len() > ENCODINGS_MAX {
        return Err(DecodeError::TooMany);
    }
    let layer = |label| EncodingLayer { label, state: LayerState::Undecided(Vec::new()) };
    Ok(labels.into_iter().rev().map(layer).collect())
}

/// Returns the name of an encoding in lower case, without parameters and quotes.
fn encoding_name(text: &[u8]) -> String {
    let name = text.split(|byte| *byte == b';').next().unwrap_or_default();
    String::from_utf8_lossy(name).trim().trim_matches('"').to_ascii_lowercase()
}

impl EncodingLayer {
    /// Returns all bytes that can be decoded now, including bytes of earlier pieces.
    pub(super) fn decode(&mut self, piece: &[u8]) -> Result<Vec<u8>, DecodeError> {
        match &mut self.state {
            LayerState::Undecided(head) => {
                head.extend_from_slice(piece);
                if head.len() < DETECTION_BYTES {
                    Ok(Vec::new())
                } else {
                    self.detect_format(false)
                }
            }
            LayerState::Compressed(inflater) => Ok(inflater.decode(piece)?),
            LayerState::Text(text) => {
                if text.is_text_with(piece) {
                    Ok(piece.to_vec())
                } else {
                    Err(self.not_decodable_error())
                }
            }
        }
    }

    /// Ends the data and returns the remaining decoded bytes. Compressed data that is cut off is an
    /// error.
    pub(super) fn finish(&mut self) -> Result<Vec<u8>, DecodeError> {
        let mut rest = Vec::new();
        if let LayerState::Undecided(head) = &self.state
            && !head.is_empty()
        {
            rest = self.detect_format(true)?;
        }
        match &mut self.state {
            LayerState::Undecided(_) => {}
            LayerState::Compressed(inflater) => rest.append(&mut inflater.finish()?),
            LayerState::Text(text) if text.ends_with_complete_char() => {}
            LayerState::Text(_) => return Err(self.not_decodable_error()),
        }
        Ok(rest)
    }

    /// Detects the format of the data from its first bytes, and decodes these bytes. `is_whole` is
    /// true if no more data follows.
    fn detect_format(&mut self, is_whole: bool) -> Result<Vec<u8>, DecodeError> {
        let LayerState::Undecided(head) = &mut self.state else { return Ok(Vec::new()) };
        let head = std::mem::take(head);
        let formats: &[CompressionFormat] = match self.label.as_str() {
            "gzip" | "x-gzip" => &[CompressionFormat::Gzip, CompressionFormat::Zlib],
            "deflate" | "x-deflate" => {
                &[CompressionFormat::Zlib, CompressionFormat::Gzip, CompressionFormat::RawDeflate]
            }
            _ => &[],
        };
        let format = formats.iter().find(|format| has_format(**format, &head, is_whole));
        self.state = match format {
            Some(format) => LayerState::Compressed(Inflater::new(*format)),
            None => LayerState::Text(TextCheck::default()),
        };
        self.decode(&head)
    }

    fn not_decodable_error(&self) -> DecodeError {
        match self.label.as_str() {
            "gzip" | "x-gzip" | "deflate" | "x-deflate" => {
                let why = format!("it is neither {} nor text", self.label);
                io::Error::new(io::ErrorKind::InvalidData, why).into()
            }
            other => DecodeError::Unsupported(other.to_owned()),
        }
    }
}

/// Checks whether pieces of data are a text: UTF-8 whose only ASCII control characters are tab,
/// line feed, carriage return and form feed. A piece may end within a character.
#[derive(Default)]
struct TextCheck {
    /// The first bytes of a character whose last bytes have not arrived.
    incomplete_char: Vec<u8>,
}

impl TextCheck {
    /// Returns whether the data is still a text after this piece.
    fn is_text_with(&mut self, piece: &[u8]) -> bool {
        let is_control = |byte: &u8| {
            (*byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c)) || *byte == 0x7f
        };
        if piece.iter().any(is_control) {
            return false;
        }
        self.incomplete_char.extend_from_slice(piece);
        let bytes = std::mem::take(&mut self.incomplete_char);
        match std::str::from_utf8(&bytes) {
            Ok(_) => true,
            Err(error) => {
                let incomplete_char = bytes.get(error.valid_up_to()..).unwrap_or_default();
                self.incomplete_char = incomplete_char.to_vec();
                error.error_len().is_none()
            }
        }
    }

    fn ends_with_complete_char(&self) -> bool {
        self.incomplete_char.is_empty()
    }
}
