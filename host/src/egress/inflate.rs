//! Inflates gzip and deflate piece by piece. Ignores bytes after the end of the compressed data.

use std::io::{self, Write};

use flate2::write::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

/// The format around compressed data.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Gzip,
    Zlib,
    /// Some servers send `deflate` without the zlib header that the standard demands.
    Raw,
}

/// Compressed data while it arrives.
pub(super) enum Inflate {
    Gzip(Box<GzDecoder<Vec<u8>>>),
    /// A member of gzip has ended; another may begin with these bytes.
    BetweenMembers(Vec<u8>),
    Deflate(Box<Decompress>),
    Ended,
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// How many bytes the output buffer grows at once.
const OUTPUT_BYTES: usize = 32 << 10;

impl Inflate {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Gzip => Self::Gzip(Box::new(GzDecoder::new(Vec::new()))),
            Kind::Zlib => Self::Deflate(Box::new(Decompress::new(true))),
            Kind::Raw => Self::Deflate(Box::new(Decompress::new(false))),
        }
    }

    /// Decodes a piece and returns the bytes that it produced.
    pub(super) fn decode(&mut self, mut piece: &[u8]) -> io::Result<Vec<u8>> {
        let mut decoded = Vec::new();
        while !piece.is_empty() {
            let taken = match self {
                Self::Gzip(decoder) => {
                    let in_header = decoder.header().is_none();
                    let taken = decoder.write(piece)?;
                    decoded.append(decoder.get_mut());
                    if taken == 0 && !in_header {
                        decoder.try_finish()?;
                        decoded.append(decoder.get_mut());
                        *self = Self::BetweenMembers(Vec::new());
                    }
                    taken
                }
                Self::BetweenMembers(begun) => {
                    begun.extend(piece.first());
                    if *begun == GZIP_MAGIC {
                        let mut next = GzDecoder::new(Vec::new());
                        next.write_all(&GZIP_MAGIC)?;
                        *self = Self::Gzip(Box::new(next));
                    } else if !GZIP_MAGIC.starts_with(begun) {
                        *self = Self::Ended;
                    }
                    1
                }
                Self::Deflate(state) => {
                    let (taken, has_ended) = inflate(state, piece, &mut decoded)?;
                    if has_ended {
                        *self = Self::Ended;
                    }
                    taken
                }
                Self::Ended => return Ok(decoded),
            };
            piece = piece.get(taken..).unwrap_or_default();
        }
        Ok(decoded)
    }

    /// Ends the data, and returns the rest.
    ///
    /// # Errors
    /// The data is cut off, or its checksum is wrong.
    pub(super) fn finish(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::BetweenMembers(_) | Self::Ended => Ok(Vec::new()),
            Self::Deflate(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Whether data that begins with `head` has this format.
pub(super) fn inflates(kind: Kind, head: &[u8], is_whole: bool) -> bool {
    let has_zlib_header = match kind {
        Kind::Gzip => return head.starts_with(&GZIP_MAGIC),
        Kind::Zlib => true,
        Kind::Raw => false,
    };
    let mut state = Decompress::new(has_zlib_header);
    match inflate(&mut state, head, &mut Vec::new()) {
        Ok((_, has_ended)) => has_ended || has_zlib_header || !is_whole,
        Err(_) => false,
    }
}

/// Inflates the piece. Returns how many of its bytes were used, and whether the data ended.
fn inflate(
    state: &mut Decompress,
    piece: &[u8],
    decoded: &mut Vec<u8>,
) -> io::Result<(usize, bool)> {
    let mut taken = 0;
    loop {
        let (in_before, out_before) = (state.total_in(), state.total_out());
        decoded.reserve(OUTPUT_BYTES);
        let rest = piece.get(taken..).unwrap_or_default();
        let status = state.decompress_vec(rest, decoded, FlushDecompress::None)?;
        let progress = state.total_in() - in_before;
        taken += usize::try_from(progress).unwrap_or(usize::MAX);
        if status == Status::StreamEnd {
            return Ok((taken, true));
        }
        if progress == 0 && state.total_out() == out_before {
            return Ok((taken, false));
        }
    }
}
