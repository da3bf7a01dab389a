//! The answer to one request: its room in memory, its body while it arrives, and why a body cannot be
//! used.
//!
//! Decodes. Redacts nothing that stays in memory: the record does.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::memory::Charge;

use super::body::{Body, BodyWriter, MEMORY_BYTES_MAX};
use super::decode::Decoder;
use super::exchange::with_causes;
use super::spool::SpoolError;
use super::{HttpError, Session};

/// What the host may hold for one exchange: the part of the body that is in memory and its redacted
/// copy, and the buffers of the connection.
const EXCHANGE_BYTES: u64 = 2 * MEMORY_BYTES_MAX as u64 + (512 << 10);

/// A complete response, decoded, not yet redacted.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// What is held of it in memory.
    pub(super) held: Charge,
}

/// The room for one answer. It is taken before the request is sent, so that no answer is lost for want
/// of memory.
pub(super) struct AnswerRoom {
    held: Charge,
    writer: BodyWriter,
    body_bytes_max: u64,
}

impl AnswerRoom {
    /// Takes the room from the run's memory.
    ///
    /// # Errors
    /// The memory does not suffice.
    pub(super) fn take(session: &Session, body_bytes_max: u64) -> Result<Self, HttpError> {
        let held = session.memory.charge(EXCHANGE_BYTES)?;
        let redactor = session.active.credentials.redactor.load_full();
        let writer = BodyWriter::new(Arc::clone(&session.spool), redactor);
        Ok(Self { held, writer, body_bytes_max })
    }
}

/// Why the body of a response cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The connection ended or the framing is invalid.
    #[error("the response ended early: {}", with_causes(.0))]
    Incomplete(#[source] hyper::Error),
    /// The body exceeds its limit; the rest was not read.
    #[error("`limits.response_body_bytes` = {0}: the response body is larger")]
    TooLarge(u64),
    /// The body was complete, and is too large once it is decoded.
    #[error("`limits.response_body_bytes` = {0}: the response body is larger when decompressed")]
    TooLargeDecoded(u64),
    /// The body is complete and cannot be decompressed.
    #[error("the response body cannot be decompressed: {0}")]
    Decompress(#[source] io::Error),
    /// The body is complete and there is no room for it.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The body is complete and encoded in a way that the host does not decode: secrets could not
    /// be found in it.
    #[error("the response has the unsupported content encoding {0:?}")]
    UnsupportedEncoding(String),
}

impl BodyError {
    /// Whether the body was received to its end.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Incomplete(_) | Self::TooLarge(_) => false,
            Self::TooLargeDecoded(_)
            | Self::Decompress(_)
            | Self::Spool(_)
            | Self::UnsupportedEncoding(_) => true,
        }
    }
}

/// Reads the complete response.
pub(super) async fn read_response(
    response: Response<Incoming>,
    is_head: bool,
    room: AnswerRoom,
) -> Result<Answer, (u16, BodyError)> {
    let (parts, body) = response.into_parts();
    let (status, mut headers) = (parts.status.as_u16(), parts.headers);
    let AnswerRoom { mut held, writer, body_bytes_max } = room;
    let body = read_body(body, &headers, writer, body_bytes_max).await;
    let body = body.map_err(|error| (status, error))?;
    let in_memory = body.in_memory().len() as u64;
    held.shrink(EXCHANGE_BYTES.saturating_sub(in_memory));
    headers.remove(CONTENT_ENCODING);
    headers.remove(TRANSFER_ENCODING);
    if !is_head {
        headers.remove(CONTENT_LENGTH);
        if body.len() > 0 {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
    }
    Ok(Answer { status, headers, body, held })
}

/// Reads the body to its end, decoded. What cannot be used ends the decoding, not the reading: that
/// the body was complete proves something about a write.
async fn read_body(
    mut body: Incoming,
    headers: &HeaderMap,
    writer: BodyWriter,
    limit: u64,
) -> Result<Body, BodyError> {
    let mut decoding = Decoder::of(headers)
        .map_err(|unsupported| BodyError::UnsupportedEncoding(unsupported.0))
        .map(|decoder| Decoding { decoder, writer, decoded: 0, limit });
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::Incomplete)?.into_data() else { continue };
        received += data.len() as u64;
        if received > limit {
            return Err(BodyError::TooLarge(limit));
        }
        if let Ok(unbroken) = &mut decoding
            && let Err(error) = unbroken.read(&data).await
        {
            decoding = Err(error);
        }
    }
    match decoding {
        Ok(decoding) => decoding.finish(received > 0).await,
        Err(BodyError::UnsupportedEncoding(_)) if received == 0 => Ok(Body::Memory(Bytes::new())),
        Err(error) => Err(error),
    }
}

/// A body that is decoded while it arrives.
struct Decoding {
    decoder: Decoder,
    writer: BodyWriter,
    decoded: u64,
    limit: u64,
}

impl Decoding {
    async fn read(&mut self, data: &[u8]) -> Result<(), BodyError> {
        if self.decoder.is_identity() {
            return Ok(self.writer.write(data).await?);
        }
        for (piece, yields) in Decoder::pieces(data) {
            let decoded = self.decoder.decode(piece).map_err(BodyError::Decompress)?;
            self.write(&decoded).await?;
            if yields {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn write(&mut self, decoded: &[u8]) -> Result<(), BodyError> {
        self.decoded += decoded.len() as u64;
        if self.decoded > self.limit {
            return Err(BodyError::TooLargeDecoded(self.limit));
        }
        Ok(self.writer.write(decoded).await?)
    }

    async fn finish(mut self, has_content: bool) -> Result<Body, BodyError> {
        if has_content {
            let decoder = std::mem::replace(&mut self.decoder, Decoder::Identity);
            let rest = decoder.finish().map_err(BodyError::Decompress)?;
            self.write(&rest).await?;
        }
        Ok(self.writer.finish().await?)
    }
}
