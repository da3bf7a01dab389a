//! Decompresses gzip and deflate data piece by piece. Never returns the bytes that follow the end
//! of the compressed data.

use std::io::{self, Write};

use flate2::write::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

#[derive(Clone, Copy)]
pub(super) enum CompressionFormat {
    Gzip,
    Zlib,
    /// Deflate data without a container. Some servers send it as `deflate`, although the standard
    /// demands the zlib container.
    RawDeflate,
}

pub(super) enum Inflater {
    Gzip(Box<GzDecoder<Vec<u8>>>),
    /// A gzip member has ended. These bytes may be the first bytes of the next member.
    BetweenMembers(Vec<u8>),
    Deflate(Box<Decompress>),
    /// The compressed data has ended. All further bytes are ignored.
    Ended,
}

/// The first bytes of each gzip member.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Before each step, the output buffer gets room for at least this number of bytes.
const OUTPUT_GROWTH_BYTES: usize = 32 << 10;

impl Inflater {
    pub(super) fn new(format: CompressionFormat) -> Self {
        match format {
            CompressionFormat::Gzip => Self::Gzip(Box::new(GzDecoder::new(Vec::new()))),
            CompressionFormat::Zlib => Self::Deflate(Box::new(Decompress::new(true))),
            CompressionFormat::RawDeflate => Self::Deflate(Box::new(Decompress::new(false))),
        }
    }

    pub(super) fn decode(&mut self, mut piece: &[u8]) -> io::Result<Vec<u8>> {
        let mut decoded = Vec::new();
        while !piece.is_empty() {
            let used_bytes = match self {
                Self::Gzip(decoder) => {
                    let is_in_header = decoder.header().is_none();
                    let used_bytes = decoder.write(piece)?;
                    decoded.append(decoder.get_mut());
                    if used_bytes == 0 && !is_in_header {
                        decoder.try_finish()?;
                        decoded.append(decoder.get_mut());
                        *self = Self::BetweenMembers(Vec::new());
                    }
                    used_bytes
                }
                Self::BetweenMembers(magic) => {
                    magic.extend(piece.first());
                    if *magic == GZIP_MAGIC {
                        let mut next = GzDecoder::new(Vec::new());
                        next.write_all(&GZIP_MAGIC)?;
                        *self = Self::Gzip(Box::new(next));
                    } else if !GZIP_MAGIC.starts_with(magic) {
                        *self = Self::Ended;
                    }
                    1
                }
                Self::Deflate(state) => {
                    let (used_bytes, has_ended) = inflate(state, piece, &mut decoded)?;
                    if has_ended {
                        *self = Self::Ended;
                    }
                    used_bytes
                }
                Self::Ended => return Ok(decoded),
            };
            piece = piece.get(used_bytes..).unwrap_or_default();
        }
        Ok(decoded)
    }

    /// Ends the data and returns the remaining decompressed bytes. Fails if the data is cut off.
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

/// Returns whether data that begins with `head` may have this format. `is_whole` is true if `head`
/// is all data.
pub(super) fn has_format(format: CompressionFormat, head: &[u8], is_whole: bool) -> bool {
    let has_zlib_header = match format {
        CompressionFormat::Gzip => return head.starts_with(&GZIP_MAGIC),
        CompressionFormat::Zlib => true,
        CompressionFormat::RawDeflate => false,
    };
    let mut state = Decompress::new(has_zlib_header);
    match inflate(&mut state, head, &mut Vec::new()) {
        Ok((_, has_ended)) => has_ended || has_zlib_header || !is_whole,
        Err(_) => false,
    }
}

/// Returns how many bytes of the piece were used, and whether the data ended.
fn inflate(
    state: &mut Decompress,
    piece: &[u8],
    decoded: &mut Vec<u8>,
) -> io::Result<(usize, bool)> {
    let mut used_bytes = 0;
    loop {
        let (in_before, out_before) = (state.total_in(), state.total_out());
        decoded.reserve(OUTPUT_GROWTH_BYTES);
        let rest = piece.get(used_bytes..).unwrap_or_default();
        let status = state.decompress_vec(rest, decoded, FlushDecompress::None)?;
        let progress = state.total_in() - in_before;
        used_bytes += usize::try_from(progress).unwrap_or(usize::MAX);
        if status == Status::StreamEnd {
            return Ok((used_bytes, true));
        }
        if progress == 0 && state.total_out() == out_before {
            return Ok((used_bytes, false));
        }
    }
}
