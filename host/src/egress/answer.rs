//! Reads and decodes the answer to one request, and redacts answers and errors. Never sends a
//! request.

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
use super::decode::{self, DecodeError, EncodingLayer};
use super::exchange::error_with_causes;
use super::spool::SpoolError;
use super::{HttpError, OutboundResponse, RunRequests};

/// The memory that is charged for one exchange: the part of the response body that is in memory,
/// its redacted copy, and the buffers of the HTTP connection.
const EXCHANGE_MEMORY_BYTES_MAX: u64 = 2 * MEMORY_BYTES_MAX as u64 + (512 << 10);

/// Maximum number of compressed bytes that are decoded at once. The number is small because deflate
/// may expand data about a thousand times.
const PIECE_BYTES_MAX: usize = 256;
/// How many pieces are decoded before other tasks may run.
const PIECES_BEFORE_YIELD: usize = 64;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A complete response. Its body is decoded. A body in memory is not redacted yet.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) charge: Charge,
}

/// The memory that is reserved for one answer, before the request is sent. Otherwise an answer
/// could be lost because the run has no memory for it.
pub(super) struct AnswerMemory {
    charge: Charge,
    writer: BodyWriter,
    /// Maximum size of the body, as received and as decoded.
    body_bytes_max: u64,
}

impl AnswerMemory {
    pub(super) fn reserve(requests: &RunRequests, body_bytes_max: u64) -> Result<Self, HttpError> {
        let charge = requests.memory.charge(EXCHANGE_MEMORY_BYTES_MAX)?;
        let redactor = requests.active.credentials.redactor.load_full();
        let writer = BodyWriter::new(Arc::clone(&requests.spool), redactor);
        Ok(Self { charge, writer, body_bytes_max })
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the response ended early: {}", error_with_causes(.0))]
    Incomplete(#[source] hyper::Error),
    #[error("`limits.response_body_bytes` = {0}: the response body is larger")]
    TooLarge(u64),
    #[error("`limits.response_body_bytes` = {0}: the response body is larger when decompressed")]
    TooLargeDecoded(u64),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl BodyError {
    /// Whether the whole body was received.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Incomplete(_) | Self::TooLarge(_) => false,
            Self::TooLargeDecoded(_) | Self::Spool(_) | Self::Decode(_) => true,
        }
    }
}

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
    let in_memory = body.bytes_in_memory().len() as u64;
    charge.shrink(EXCHANGE_MEMORY_BYTES_MAX.saturating_sub(in_memory));
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
    /// Builds an answer from a recording, with the same size limit and memory charge as an answer
    /// of a tracker.
    pub(super) async fn from_recording(
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
        charge
            .shrink(EXCHANGE_MEMORY_BYTES_MAX.saturating_sub(body.bytes_in_memory().len() as u64));
        if body.len() > 0 {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Ok(Self { status, headers, body, charge })
    }
}

/// If a part cannot be decoded or stored, the host still reads the rest, because a complete answer
/// proves the result of a write (`classify_write`).
async fn read_body(
    mut body: Incoming,
    headers: &HeaderMap,
    writer: BodyWriter,
    limit: u64,
) -> Result<Body, BodyError> {
    let decoder = decode::encoding_layers(headers).map_err(BodyError::Decode);
    let mut decoder = decoder.map(|layers| BodyDecoder::new(layers, headers, writer, limit));
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::Incomplete)?.into_data() else { continue };
        received += data.len() as u64;
        if received > limit {
            return Err(BodyError::TooLarge(limit));
        }
        if let Ok(working_decoder) = &mut decoder
            && let Err(error) = working_decoder.decode(data).await
        {
            decoder = Err(error);
        }
    }
    match decoder {
        Ok(decoder) => decoder.finish().await,
        Err(BodyError::Decode(_)) if received == 0 => Ok(Body::Memory(Bytes::new())),
        Err(error) => Err(error),
    }
}

struct BodyDecoder {
    /// The encodings, the outermost first, each with the data that waits to be decoded.
    layers: Vec<(EncodingLayer, Bytes)>,
    /// How many bytes were decoded from each encoding, in the order of `layers`.
    decoded_bytes: Vec<u64>,
    writer: BodyWriter,
    /// The first bytes of a text, while they may be the beginning of a byte order mark. Otherwise
    /// `None`.
    bom_prefix: Option<Vec<u8>>,
    body_bytes_max: u64,
    decoded_pieces: usize,
}

impl BodyDecoder {
    fn new(
        layers: Vec<EncodingLayer>,
        headers: &HeaderMap,
        writer: BodyWriter,
        body_bytes_max: u64,
    ) -> Self {
        let decoded_bytes = vec![0; layers.len()];
        let layers = layers.into_iter().map(|layer| (layer, Bytes::new())).collect();
        let bom_prefix = may_be_text(headers).then(Vec::new);
        Self { layers, decoded_bytes, writer, bom_prefix, body_bytes_max, decoded_pieces: 0 }
    }

    async fn decode(&mut self, data: Bytes) -> Result<(), BodyError> {
        self.pass_to_layer(0, data).await?;
        self.decode_waiting_data().await
    }

    /// Decodes the waiting data, the data of the innermost encoding first.
    async fn decode_waiting_data(&mut self) -> Result<(), BodyError> {
        let innermost = |layers: &[(EncodingLayer, Bytes)]| {
            layers.iter().rposition(|(_, waiting)| !waiting.is_empty())
        };
        while let Some(layer_index) = innermost(&self.layers) {
            let Some((layer, waiting)) = self.layers.get_mut(layer_index) else { return Ok(()) };
            let piece = waiting.split_to(waiting.len().min(PIECE_BYTES_MAX));
            let decoded = layer.decode(&piece)?;
            self.count_decoded_bytes(layer_index, &decoded)?;
            self.pass_to_layer(layer_index + 1, decoded.into()).await?;
            self.decoded_pieces += 1;
            if self.decoded_pieces.is_multiple_of(PIECES_BEFORE_YIELD) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Adds data to the waiting data of the encoding with this index. After the last encoding,
    /// writes the data to the body.
    async fn pass_to_layer(&mut self, layer_index: usize, data: Bytes) -> Result<(), BodyError> {
        match self.layers.get_mut(layer_index) {
            Some((_, waiting)) if waiting.is_empty() => *waiting = data,
            Some((_, waiting)) => *waiting = [&waiting[..], &data[..]].concat().into(),
            None => self.write(&data).await?,
        }
        Ok(())
    }

    fn count_decoded_bytes(&mut self, layer_index: usize, decoded: &[u8]) -> Result<(), BodyError> {
        let Some(sum) = self.decoded_bytes.get_mut(layer_index) else { return Ok(()) };
        *sum += decoded.len() as u64;
        if *sum > self.body_bytes_max {
            Err(BodyError::TooLargeDecoded(self.body_bytes_max))
        } else {
            Ok(())
        }
    }

    /// Writes data to the body, without a byte order mark at the beginning of a text.
    async fn write(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let Some(mut beginning) = self.bom_prefix.take() else {
            return Ok(self.writer.write(data).await?);
        };
        beginning.extend_from_slice(data);
        if beginning.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&beginning) {
            self.bom_prefix = Some(beginning);
            return Ok(());
        }
        Ok(self.writer.write(beginning.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&beginning)).await?)
    }

    async fn finish(mut self) -> Result<Body, BodyError> {
        for layer_index in 0..self.layers.len() {
            let Some((layer, _)) = self.layers.get_mut(layer_index) else { break };
            let rest = layer.finish()?;
            self.count_decoded_bytes(layer_index, &rest)?;
            self.pass_to_layer(layer_index + 1, rest.into()).await?;
            self.decode_waiting_data().await?;
        }
        if let Some(beginning) = self.bom_prefix.take() {
            self.writer.write(&beginning).await?;
        }
        Ok(self.writer.finish().await?)
    }
}

/// In a body that is not a text, the bytes of a byte order mark are part of the data.
fn may_be_text(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return true };
    let content_type = String::from_utf8_lossy(content_type.as_bytes()).to_ascii_lowercase();
    ["json", "xml", "text", "javascript"].iter().any(|word| content_type.contains(word))
}

/// Headers of a response that apply only to its HTTP connection.
const HOP_BY_HOP_HEADERS: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl OutboundResponse {
    /// Returns the answer as the guest gets it: without secrets and without hop-by-hop headers. A
    /// body in a file is already redacted.
    pub(super) fn redacted(answer: Answer, url: String, redactor: &Redactor) -> Self {
        let body = match answer.body {
            Body::Memory(bytes) => Body::Memory(redactor.redact_bytes(bytes)),
            spooled @ Body::Spooled(_) => spooled,
        };
        let mut headers = Vec::with_capacity(answer.headers.len());
        for (name, value) in &answer.headers {
            let name = name.as_str();
            let is_secret = redactor.contains_secret(TextKind::Name, name.as_bytes());
            if is_secret || HOP_BY_HOP_HEADERS.contains(&name) {
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
    pub(super) fn redacted(self, redactor: &Redactor) -> Self {
        match self {
            Self::NotGranted(origin)
                if !redactor
                    .contains_secret(TextKind::ForPeople, origin.to_string().as_bytes()) =>
            {
                Self::NotGranted(origin)
            }
            error => {
                let (case, text) = error.into_parts();
                Self::from_case(case, redactor.redact(TextKind::ForPeople, text))
            }
        }
    }
}

/// Decodes the value of a header as UTF-8 or, for old servers, as Latin-1.
pub(super) fn header_text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}
