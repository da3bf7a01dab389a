//! Closes a connection on which the client may still be sending a body that no handler reads.
//!
//! This module never closes such a connection at once: the kernel would reset it because of the
//! unread bytes, and the client would often lose the answer. The server first closes only its own
//! direction of the connection. Then it reads and discards bytes, up to a maximum number and for a
//! limited time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Maximum number of bytes that are discarded before the connection is closed.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Maximum time for which bytes are discarded before the connection is closed.
const LINGER_TIME_MAX: Duration = Duration::from_secs(5);
/// Maximum number of bytes that are read at once.
const READ_BYTES_MAX: usize = 16 * 1024;

/// Wraps the stream of a connection. If `must_linger` is true when the server has sent the end of
/// the stream, this type reads and discards bytes before the connection is closed.
pub(super) struct Lingering<S> {
    stream: S,
    /// Whether the client may still be sending a body.
    must_linger: Arc<AtomicBool>,
    /// The number of bytes that may still be discarded, and the end of the time for this; `None`
    /// until this type begins to discard bytes.
    remaining: Option<(usize, Pin<Box<Sleep>>)>,
}

impl<S> Lingering<S> {
    pub(super) fn new(stream: S, must_linger: Arc<AtomicBool>) -> Self {
        Self { stream, must_linger, remaining: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.remaining.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.must_linger.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let (bytes_left, deadline) = this
            .remaining
            .get_or_insert_with(|| (DISCARDED_BYTES_MAX, Box::pin(sleep(LINGER_TIME_MAX))));
        let mut bytes = [0; READ_BYTES_MAX];
        while *bytes_left > 0 && deadline.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut buffer))?;
            match buffer.filled().len() {
                0 => break,
                read => *bytes_left = bytes_left.saturating_sub(read),
            }
        }
        Poll::Ready(Ok(()))
    }
}
