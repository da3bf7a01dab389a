//! The answer to one request: reserves memory for it, reads and decodes its body, and reports why a
//! body cannot be used.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING,
};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::memory::Charge;
use crate::redact::{Redactor, TextKind};

use super::body::{Body, BodyWriter, MEMORY_BYTES_MAX};
use super::decode::{self, DecodeError, Layer};
use super::exchange::with_causes;
use super::spool::SpoolError;
use super::{HttpError, OutboundResponse, RunRequests};

/// Maximum memory that the host uses for one exchange: the part of the body that is in memory, its
/// redacted copy, and the buffers of the connection.
const EXCHANGE_BYTES: u64 = 2 * MEMORY_BYTES_MAX as u64 + (512 << 10);

/// Compressed bytes that are decoded at once. Deflate expands them at most about a thousand times.
const PIECE_BYTES: usize = 256;
/// Pieces that are decoded before other tasks get a turn.
const YIELD_PIECES: usize = 64;
/// The byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A complete response, decoded, not yet redacted.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// The charge for the memory that the answer uses.
    pub(super) charge: Charge,
}

/// The memory reserved for one answer. It is reserved before the request is sent, so that no answer
/// is lost because memory is missing.
pub(super) struct AnswerMemory {
    charge: Charge,
    writer: BodyWriter,
    body_bytes_max: u64,
}

impl AnswerMemory {
    /// Reserves the memory and charges it to the run.
    ///
    /// # Errors
    /// The run does not have enough memory left.
    pub(super) fn reserve(session: &RunRequests, body_bytes_max: u64) -> Result<Self, HttpError> {
        let charge = session.memory.charge(EXCHANGE_BYTES)?;
        let redactor = session.active.credentials.redactor.load_full();
        let writer = BodyWriter::new(Arc::clone(&session.spool), redactor);
        Ok(Self { charge, writer, body_bytes_max })
    }
}

/// The reason why the body of a response cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The connection ended or the framing is invalid.
    #[error("the response ended early: {}", with_causes(.0))]
    Incomplete(#[source] hyper::Error),
    /// The body exceeds its limit; the rest was not read.
    #[error("`limits.response_body_bytes` = {0}: the response body is larger")]
    TooLarge(u64),
    /// The body is complete, but is too large after decoding.
    #[error("`limits.response_body_bytes` = {0}: the response body is larger when decompressed")]
    TooLargeDecoded(u64),
    /// The body is complete, but cannot be stored.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The body is complete, but cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl BodyError {
    /// Whether the body was received to its end.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Incomplete(_) | Self::TooLarge(_) => false,
            Self::TooLargeDecoded(_) | Self::Spool(_) | Self::Decode(_) => true,
        }
    }
}

/// Reads the complete response.
pub(super) async fn read_response(
    response: Response<Incoming>,
    is_head: bool,
    memory: AnswerMemory,
) -> Result<Answer, (u16, BodyError)> {
    let (parts, body) = response.into_parts();
    let (status, mut headers) = (parts.status.as_u16(), parts.headers);
    let AnswerMemory { mut charge, writer, body_bytes_max } = memory;
    let body = read_body(body, &headers, writer, body_bytes_max).await;
    let body = body.map_err(|error| (status, error))?;
    let in_memory = body.in_memory().len() as u64;
    charge.shrink(EXCHANGE_BYTES.saturating_sub(in_memory));
    headers.remove(CONTENT_ENCODING);
    headers.remove(TRANSFER_ENCODING);
    if !is_head {
        headers.remove(CONTENT_LENGTH);
        if body.len() > 0 {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
    }
    Ok(Answer { status, headers, body, charge })
}

impl Answer {
    /// An answer of a recording, within the same limit and the same memory as one of a tracker.
    pub(super) async fn recorded(
        status: u16,
        mut headers: HeaderMap,
        body: &[u8],
        memory: AnswerMemory,
    ) -> Result<Self, BodyError> {
        let AnswerMemory { mut charge, mut writer, body_bytes_max } = memory;
        if body.len() as u64 > body_bytes_max {
            return Err(BodyError::TooLarge(body_bytes_max));
        }
        writer.write(body).await?;
        let body = writer.finish().await?;
        charge.shrink(EXCHANGE_BYTES.saturating_sub(body.in_memory().len() as u64));
        if body.len() > 0 {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Ok(Self { status, headers, body, charge })
    }
}

/// Reads the body to its end and decodes it. After a decoding error, the host still reads the rest,
/// because a complete body proves something about a write.
async fn read_body(
    mut body: Incoming,
    headers: &HeaderMap,
    writer: BodyWriter,
    limit: u64,
) -> Result<Body, BodyError> {
    let decoding = decode::layers(headers).map_err(BodyError::Decode);
    let mut decoding = decoding.map(|layers| Decoding::new(layers, headers, writer, limit));
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::Incomplete)?.into_data() else { continue };
        received += data.len() as u64;
        if received > limit {
            return Err(BodyError::TooLarge(limit));
        }
        if let Ok(unbroken) = &mut decoding
            && let Err(error) = unbroken.read(data).await
        {
            decoding = Err(error);
        }
    }
    match decoding {
        Ok(decoding) => decoding.finish().await,
        Err(BodyError::Decode(_)) if received == 0 => Ok(Body::Memory(Bytes::new())),
        Err(error) => Err(error),
    }
}

/// A body that is decoded while it arrives.
struct Decoding {
    /// The encodings, each with the data that it has received but not decoded yet. At most one
    /// piece of each is decoded ahead.
    layers: Vec<(Layer, Bytes)>,
    /// How many bytes each encoding has produced.
    decoded: Vec<u64>,
    writer: BodyWriter,
    /// The beginning of a text, as long as it may be a byte order mark; absent afterwards.
    bom_prefix: Option<Vec<u8>>,
    limit: u64,
    pieces: usize,
}

impl Decoding {
    fn new(layers: Vec<Layer>, headers: &HeaderMap, writer: BodyWriter, limit: u64) -> Self {
        let decoded = vec![0; layers.len()];
        let layers = layers.into_iter().map(|layer| (layer, Bytes::new())).collect();
        let bom_prefix = is_text(headers).then(Vec::new);
        Self { layers, decoded, writer, bom_prefix, limit, pieces: 0 }
    }

    async fn read(&mut self, data: Bytes) -> Result<(), BodyError> {
        self.pass_on(0, data).await?;
        self.decode_waiting().await
    }

    /// Decodes the waiting data, the innermost encoding first.
    async fn decode_waiting(&mut self) -> Result<(), BodyError> {
        while let Some(at) = self.layers.iter().rposition(|(_, waiting)| !waiting.is_empty()) {
            let Some((layer, waiting)) = self.layers.get_mut(at) else { return Ok(()) };
            let piece = waiting.split_to(waiting.len().min(PIECE_BYTES));
            let decoded = layer.decode(&piece)?;
            self.count(at, &decoded)?;
            self.pass_on(at + 1, decoded.into()).await?;
            self.pieces += 1;
            if self.pieces.is_multiple_of(YIELD_PIECES) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Passes data to an encoding or, after the last encoding, to the body.
    async fn pass_on(&mut self, at: usize, data: Bytes) -> Result<(), BodyError> {
        match self.layers.get_mut(at) {
            Some((_, waiting)) if waiting.is_empty() => *waiting = data,
            Some((_, waiting)) => *waiting = [&waiting[..], &data[..]].concat().into(),
            None => self.write(&data).await?,
        }
        Ok(())
    }

    fn count(&mut self, at: usize, decoded: &[u8]) -> Result<(), BodyError> {
        let Some(sum) = self.decoded.get_mut(at) else { return Ok(()) };
        *sum += decoded.len() as u64;
        if *sum > self.limit { Err(BodyError::TooLargeDecoded(self.limit)) } else { Ok(()) }
    }

    /// Writes to the body, without a byte order mark at the beginning of a text.
    async fn write(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let Some(mut begun) = self.bom_prefix.take() else {
            return Ok(self.writer.write(data).await?);
        };
        begun.extend_from_slice(data);
        if begun.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&begun) {
            self.bom_prefix = Some(begun);
            return Ok(());
        }
        Ok(self.writer.write(begun.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&begun)).await?)
    }

    async fn finish(mut self) -> Result<Body, BodyError> {
        for at in 0..self.layers.len() {
            let Some((layer, _)) = self.layers.get_mut(at) else { break };
            let rest = layer.finish()?;
            self.count(at, &rest)?;
            self.pass_on(at + 1, rest.into()).await?;
            self.decode_waiting().await?;
        }
        if let Some(begun) = self.bom_prefix.take() {
            self.writer.write(&begun).await?;
        }
        Ok(self.writer.finish().await?)
    }
}

/// Whether the body is or may be text. In other data, a byte order mark belongs to the data.
fn is_text(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return true };
    let kind = String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase();
    ["json", "xml", "text", "javascript"].iter().any(|word| kind.contains(word))
}

/// Headers of a response that concern its connection only; the guest does not get them.
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl OutboundResponse {
    /// Converts the answer into the form that the guest gets: without secrets and without
    /// hop-by-hop headers. A body in a file was already redacted before it was written.
    pub(super) fn redacted(answer: Answer, url: String, redactor: &Redactor) -> Self {
        let body = match answer.body {
            Body::Memory(bytes) => Body::Memory(redactor.bytes(bytes)),
            spooled @ Body::Spooled(_) => spooled,
        };
        let mut headers = Vec::with_capacity(answer.headers.len());
        for (name, value) in &answer.headers {
            let name = name.as_str();
            let is_secret = redactor.finds(TextKind::Name, name.as_bytes());
            if is_secret || HOP_BY_HOP.contains(&name) {
                continue;
            }
            let value = if name == "content-length" && body.len() > 0 {
                body.len().to_string()
            } else {
                redactor.redact(TextKind::Answer, header_text(value.as_bytes()))
            };
            headers.push((name.to_owned(), value));
        }
        let url = redactor.redact(TextKind::Answer, url);
        Self { status: answer.status, url, headers, body, charge: answer.charge }
    }
}

impl HttpError {
    /// Removes the secrets from the error before the guest gets it.
    pub(super) fn redacted(self, redactor: &Redactor) -> Self {
        match self {
            Self::NotGranted(origin)
                if !redactor.finds(TextKind::ForPeople, origin.to_string().as_bytes()) =>
            {
                Self::NotGranted(origin)
            }
            error => {
                let (case, text) = error.into_parts();
                Self::of(case, redactor.redact(TextKind::ForPeople, text))
            }
        }
    }
}

/// A header's value; old servers write it in Latin-1.
pub(super) fn header_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}
