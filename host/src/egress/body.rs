//! The body of an answer: in memory, or, above 1 MiB, in the temporary file of its run.
//!
//! A body in the file is redacted before it is written. A body in memory is not redacted yet.

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

/// Maximum size of a body in memory, bytes.
pub(super) const MEMORY_BYTES_MAX: usize = 1 << 20;
/// How many bytes are read from the file at once.
const PART_BYTES_MAX: usize = 64 << 10;

/// A complete body.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// The body is in memory and not redacted yet.
    Memory(Bytes),
    /// The body is in the file of its run and is redacted.
    Spooled(SpooledBody),
}

/// A redacted body in the file of its run.
#[derive(Debug, Clone)]
pub(crate) struct SpooledBody {
    run: Arc<RunSpool>,
    blocks: Vec<Block>,
    bytes: u64,
}

/// Collects a body while it arrives.
pub(super) struct BodyWriter {
    run: Arc<RunSpool>,
    redactor: Arc<Redactor>,
    /// First the context bytes, which are already in the file. Then the new bytes, which are not
    /// yet redacted and written.
    buffer: Vec<u8>,
    /// How many bytes at the start of `buffer` are already in the file. They are kept because the
    /// redactor looks at the text before the new bytes.
    context_bytes: usize,
    blocks: Vec<Block>,
    /// Whether the whole body counts as a secret, so that only the mask is kept.
    is_secret: bool,
}

impl BodyWriter {
    pub(super) fn new(run: Arc<RunSpool>, redactor: Arc<Redactor>) -> Self {
        let (buffer, blocks) = (Vec::new(), Vec::new());
        Self { run, redactor, buffer, context_bytes: 0, blocks, is_secret: false }
    }

    /// Adds received data. Writes to the file when the data is too large for memory.
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

    /// Ends the body and returns it, in memory or in the file.
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
        Ok(Body::Spooled(SpooledBody { run: self.run, blocks: self.blocks, bytes }))
    }

    /// Redacts the bytes in memory and moves them into the file. Bytes at the end that may be the
    /// beginning of a secret stay in memory.
    async fn spool(&mut self, is_last: bool) -> Result<(), SpoolError> {
        let mut redacted = Vec::with_capacity(self.buffer.len());
        let from = self.context_bytes;
        match self.redactor.redact_part(&self.buffer, from, is_last, &mut redacted) {
            // The buffer is full, and no byte of it could be decided. No form of a secret is so
            // long, so the text was designed to look like a secret.
            Some(decided_bytes) if decided_bytes == from && self.buffer.len() > from => {
                self.is_secret = true;
            }
            None => self.is_secret = true,
            Some(decided_bytes) => {
                self.context_bytes = self.redactor.context_bytes().min(decided_bytes);
                self.buffer.drain(..decided_bytes - self.context_bytes);
                self.blocks.push(self.run.append(redacted).await?);
            }
        }
        if self.is_secret {
            self.buffer = Vec::new();
        }
        Ok(())
    }
}

impl Body {
    /// Returns the length of the body, bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Spooled(body) => body.bytes,
        }
    }

    /// Returns the whole body in memory, with its charge to the run.
    ///
    /// # Errors
    /// The run does not have enough memory left, or the file cannot be read.
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

    /// Returns the bytes of a body that is in memory because its limit is small. Empty if the body
    /// is in a file.
    pub(super) fn in_memory(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Spooled(_) => &[],
        }
    }
}

impl SpooledBody {
    /// Returns the body as a stream. Each part is read from the file when the stream is polled.
    pub(crate) fn into_stream(self) -> impl HttpBody<Data = Bytes, Error = io::Error> + Send {
        StreamBody::new(stream::try_unfold(self, |mut body| async move {
            let part = body.next_part().await?;
            Ok(part.map(|part| (Frame::data(Bytes::from(part)), body)))
        }))
    }

    /// Reads the next part and removes it from this body.
    async fn next_part(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(block) = self.blocks.first_mut() else { return Ok(None) };
        let part = self.run.read(*block, PART_BYTES_MAX).await?;
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
