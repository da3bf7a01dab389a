//! Stores the body of an answer: in memory or, if it is large, in the temporary file of its run. A
//! body is redacted before it is written to the file. Never redacts a body that stays in memory:
//! `answer.rs` does.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::{Body as HttpBody, Frame};

use crate::memory::{Account, Charge};
use crate::redact::{MASK, Redactor};

use super::HttpError;
use super::spool::{Block, RunSpool, SpoolError};

/// Maximum size of a body that is stored in memory, bytes.
pub(super) const MEMORY_BYTES_MAX: usize = 1 << 20;
/// Maximum number of bytes that are read from the file at once.
const PART_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// The body is in memory. It is redacted in an `OutboundResponse`, but not yet in an `Answer`.
    Memory(Bytes),
    /// The body is in the file of its run and is redacted.
    Spooled(SpooledBody),
}

#[derive(Debug, Clone)]
pub(crate) struct SpooledBody {
    run_spool: Arc<RunSpool>,
    /// The parts of the file that contain the unread rest of the body, in their order.
    blocks: Vec<Block>,
    /// The length of the whole body.
    bytes: u64,
}

pub(super) struct BodyWriter {
    run_spool: Arc<RunSpool>,
    redactor: Arc<Redactor>,
    /// The `context_bytes` bytes that are already in the file, and after them the bytes that are
    /// not yet redacted and written.
    buffer: Vec<u8>,
    /// How many bytes at the start of `buffer` are already in the file. The redactor also needs the
    /// text before the new bytes.
    context_bytes: usize,
    blocks: Vec<Block>,
    /// Whether the whole body counts as a secret, so that the mask replaces the body.
    is_secret: bool,
}

impl BodyWriter {
    pub(super) fn new(run_spool: Arc<RunSpool>, redactor: Arc<Redactor>) -> Self {
        let (buffer, blocks) = (Vec::new(), Vec::new());
        Self { run_spool, redactor, buffer, context_bytes: 0, blocks, is_secret: false }
    }

    /// Adds received data. Writes to the file when the buffer is full and more data follows.
    pub(super) async fn write(&mut self, mut data: &[u8]) -> Result<(), SpoolError> {
        while !data.is_empty() && !self.is_secret {
            if self.buffer.len() >= MEMORY_BYTES_MAX {
                self.spool(false).await?;
            }
            let room = MEMORY_BYTES_MAX.saturating_sub(self.buffer.len()).min(data.len());
            let (fitting, remaining) = data.split_at(room);
            self.buffer.extend_from_slice(fitting);
            data = remaining;
        }
        Ok(())
    }

    /// Ends the body and returns it. If a part of the body is in the file, the rest is written to
    /// the file too.
    pub(super) async fn finish(mut self) -> Result<Body, SpoolError> {
        if !self.blocks.is_empty() && !self.is_secret {
            self.spool(true).await?;
        }
        if self.is_secret {
            return Ok(Body::Memory(Bytes::from_static(MASK.as_bytes())));
        }
        if self.blocks.is_empty() {
            self.buffer.shrink_to_fit();
            return Ok(Body::Memory(self.buffer.into()));
        }
        let bytes = self.blocks.iter().map(|block| block.bytes as u64).sum();
        Ok(Body::Spooled(SpooledBody { run_spool: self.run_spool, blocks: self.blocks, bytes }))
    }

    /// Redacts the new bytes of the buffer and writes them to the file. If more data follows (not
    /// `is_last`), bytes at the end that may be the beginning of a secret stay in memory.
    async fn spool(&mut self, is_last: bool) -> Result<(), SpoolError> {
        let mut redacted = Vec::with_capacity(self.buffer.len());
        let from = self.context_bytes;
        match self.redactor.redact_part(&self.buffer, from, is_last, &mut redacted) {
            // The buffer is full, and the redactor could not decide whether the first new byte
            // belongs to a secret. Secrets are much shorter than the buffer, so the text was
            // designed to look like a secret.
            Some(decided_bytes) if decided_bytes == from && self.buffer.len() > from => {
                self.is_secret = true;
            }
            None => self.is_secret = true,
            Some(decided_bytes) => {
                self.context_bytes = self.redactor.context_bytes().min(decided_bytes);
                self.buffer.drain(..decided_bytes - self.context_bytes);
                self.blocks.push(self.run_spool.append(redacted).await?);
            }
        }
        if self.is_secret {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}

impl Body {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Spooled(body) => body.bytes,
        }
    }

    /// Reads the whole body into memory. Returns the body and the charge for its memory.
    pub(crate) async fn into_memory(
        self,
        memory: &Arc<Account>,
    ) -> Result<(Vec<u8>, Charge), HttpError> {
        let charge = memory.charge(self.len()).map_err(HttpError::from)?;
        let body = match self {
            Self::Memory(bytes) => bytes.into(),
            Self::Spooled(mut body) => {
                let mut whole = Vec::with_capacity(usize::try_from(body.bytes).unwrap_or(0));
                while let Some(part) = body.next_part().await.map_err(spool_read_error)? {
                    whole.extend_from_slice(&part);
                }
                whole
            }
        };
        Ok((body, charge))
    }

    /// Returns the bytes of a body that is in memory. Returns no bytes if the body is in the file.
    /// A body whose size limit is at most `MEMORY_BYTES_MAX` is always in memory.
    pub(super) fn bytes_in_memory(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Spooled(_) => &[],
        }
    }
}

impl SpooledBody {
    /// Each part is read from the file when the stream is polled.
    pub(crate) fn into_stream(self) -> impl HttpBody<Data = Bytes, Error = io::Error> + Send {
        StreamBody::new(stream::try_unfold(self, |mut body| async move {
            let part = body.next_part().await?;
            Ok(part.map(|part| (Frame::data(Bytes::from(part)), body)))
        }))
    }

    /// Reads the next part and removes it from this body. Returns `None` at the end.
    async fn next_part(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(block) = self.blocks.first_mut() else { return Ok(None) };
        let part = self.run_spool.read(*block, PART_BYTES_MAX).await?;
        block.offset += part.len() as u64;
        block.bytes = block.bytes.saturating_sub(part.len());
        if block.bytes == 0 {
            self.blocks.remove(0);
        }
        Ok(Some(part))
    }
}

fn spool_read_error(error: io::Error) -> HttpError {
    HttpError::Interrupted(format!("cannot read the body again from the data folder: {error}"))
}
