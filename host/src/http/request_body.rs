//! Wraps the body of a request, which its handler may not read completely.
//!
//! An HTTP/1.1 connection can be used for another request only after the whole body was read. If it
//! cannot be used, the answer must have the header `Connection: close`. Otherwise the client would
//! send its next request on a closed connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::progress::ArrivedOnDrop;

/// If more bytes than this are unread, they are not read, and the connection is closed.
const UNREAD_BYTES_MAX: u64 = 64 * 1024;
/// Maximum time until the rest of a small body arrives. Usually it is in the next packet.
const UNREAD_TIMEOUT: Duration = Duration::from_millis(200);

/// The body that a handler receives, if the body is not empty.
pub(super) struct RequestBody {
    body: Option<Incoming>,
    unread: Arc<Unread>,
    _arrived: ArrivedOnDrop,
}

/// The part of a body that the handler did not read.
pub(super) struct Unread(Mutex<Rest>);

enum Rest {
    /// The rest cannot be read: the handler still has the body, or reading it failed.
    Unavailable,
    /// The handler has read the body to its end.
    Nothing,
    /// The handler has dropped the body before its end.
    Body(Incoming),
}

impl RequestBody {
    /// Wraps a body. The second value gives access to the part that the handler did not read.
    pub(super) fn new(body: Incoming, arrived: ArrivedOnDrop) -> (Self, Arc<Unread>) {
        let unread = Arc::new(Unread(Mutex::new(Rest::Unavailable)));
        (Self { body: Some(body), unread: Arc::clone(&unread), _arrived: arrived }, unread)
    }
}

impl Unread {
    /// Reads and discards the rest of a small body, unless the client waits for `100 Continue`
    /// before it sends the body. Returns false if the connection cannot be used for another
    /// request.
    pub(super) async fn discard_rest(&self, client_waits: bool) -> bool {
        let rest = std::mem::replace(&mut *self.0.lock(), Rest::Unavailable);
        match rest {
            Rest::Nothing => true,
            Rest::Unavailable => false,
            Rest::Body(_) if client_waits => false,
            Rest::Body(body) => timeout(UNREAD_TIMEOUT, discard(body)).await.unwrap_or(false),
        }
    }
}

/// Reads a body to its end. Returns false if it has too many bytes, or cannot be read.
async fn discard(mut body: Incoming) -> bool {
    let mut bytes_left = UNREAD_BYTES_MAX;
    if body.size_hint().lower() > bytes_left {
        return false;
    }
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match bytes_left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)) {
            Some(rest) => bytes_left = rest,
            None => return false,
        }
    }
    true
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        if frame.is_none() {
            *self.unread.0.lock() = Rest::Nothing;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            let rest = if body.is_end_stream() { Rest::Nothing } else { Rest::Body(body) };
            *self.unread.0.lock() = rest;
        }
    }
}
