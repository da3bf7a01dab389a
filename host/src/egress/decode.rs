//! Decompresses the body of an answer piece by piece, while it arrives.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};

/// What is decompressed at once, bytes. Deflate makes at most a thousand times as much of it.
const PIECE_BYTES: usize = 256;
/// Pieces that are decompressed before other tasks get a turn.
const YIELD_PIECES: usize = 64;

/// The name of a content encoding that is not supported.
pub(super) struct UnsupportedEncoding(pub(super) String);

/// The content encoding of one answer.
pub(super) enum Decoder {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// Deflate of which nothing has arrived yet: the first bytes tell the two kinds apart.
    Deflate(Vec<u8>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Raw(Box<DeflateDecoder<Vec<u8>>>),
}

impl Decoder {
    /// The decoder for these headers.
    ///
    /// # Errors
    /// The encoding is not supported.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, UnsupportedEncoding> {
        let encoding =
            headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
        match encoding.as_deref().unwrap_or_default().trim_ascii() {
            b"" | b"identity" => Ok(Self::Identity),
            b"gzip" | b"x-gzip" => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            b"deflate" => Ok(Self::Deflate(Vec::new())),
            other => Err(UnsupportedEncoding(String::from_utf8_lossy(other).into_owned())),
        }
    }

    /// Whether the body is as it was sent.
    pub(super) fn is_identity(&self) -> bool {
        matches!(self, Self::Identity)
    }

    /// The pieces in which to decompress some data.
    pub(super) fn pieces(data: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
        let numbered = data.chunks(PIECE_BYTES).enumerate();
        numbered.map(|(number, piece)| (piece, number % YIELD_PIECES == YIELD_PIECES - 1))
    }

    /// Decompresses a piece, and returns what has been made of it and of those before.
    pub(super) fn decode(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        if let Self::Deflate(head) = self {
            head.extend_from_slice(piece);
            if head.len() < 2 {
                return Ok(Vec::new());
            }
            let head = std::mem::take(head);
            *self = if has_zlib_header(&head) {
                Self::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
            } else {
                Self::Raw(Box::new(DeflateDecoder::new(Vec::new())))
            };
            return self.decode(&head);
        }
        match self {
            Self::Identity | Self::Deflate(_) => Ok(piece.to_vec()),
            Self::Gzip(decoder) => {
                write(decoder, piece).map(|()| std::mem::take(decoder.get_mut()))
            }
            Self::Zlib(decoder) => {
                write(decoder, piece).map(|()| std::mem::take(decoder.get_mut()))
            }
            Self::Raw(decoder) => write(decoder, piece).map(|()| std::mem::take(decoder.get_mut())),
        }
    }

    /// Ends the stream, and returns the rest. A stream that is cut off is an error.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(Vec::new()),
            Self::Deflate(head) if head.is_empty() => Ok(Vec::new()),
            Self::Deflate(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Self::Gzip(decoder) => decoder.finish(),
            Self::Zlib(decoder) => decoder.finish(),
            Self::Raw(decoder) => decoder.finish(),
        }
    }
}

/// Writes the whole piece. A decoder that takes no more has reached the end of its stream.
fn write(decoder: &mut impl Write, mut piece: &[u8]) -> io::Result<()> {
    while !piece.is_empty() {
        let taken = decoder.write(piece)?;
        if taken == 0 {
            return Ok(());
        }
        piece = piece.get(taken..).unwrap_or_default();
    }
    Ok(())
}

/// Some servers send `deflate` without the zlib header that the standard demands.
fn has_zlib_header(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..]
        if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}
