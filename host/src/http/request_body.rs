//! Wraps the body of a request, because the handler may leave a part of the body unread.
//!
//! An HTTP/1.1 connection can be used for another request only after the whole body was read.
//! Otherwise the answer must have the header `Connection: close`; this module never adds the
//! header.

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

/// Maximum number of bytes that are read after the handler has returned.
const UNREAD_BYTES_MAX: u64 = 64 * 1024;
/// Maximum time until the rest of a small body arrives. Usually the rest is in the next packet.
const UNREAD_TIMEOUT: Duration = Duration::from_millis(200);

/// The body of a request, as the handler receives it.
pub(super) struct RequestBody {
    /// The body; `None` after the handler has read it to its end, or reading it has failed.
    body: Option<Incoming>,
    /// Receives the rest of the body when this value is dropped.
    unread: Arc<UnreadBody>,
    /// Marks the request as arrived when this value is dropped.
    _arrived: ArrivedOnDrop,
}

/// The part of a body that the handler did not read.
pub(super) struct UnreadBody(Mutex<Rest>);

enum Rest {
    /// The rest cannot be read: the handler still has the body, reading the body failed, or the
    /// rest was already taken.
    Unavailable,
    /// There is no rest: the handler has read the body to its end.
    Nothing,
    /// The handler has dropped the body before it was read to its end.
    Body(Incoming),
}

impl RequestBody {
    /// Wraps a body. The second value gives access to the part that the handler did not read.
    pub(super) fn new(body: Incoming, arrived: ArrivedOnDrop) -> (Self, Arc<UnreadBody>) {
        let unread = Arc::new(UnreadBody(Mutex::new(Rest::Unavailable)));
        (Self { body: Some(body), unread: Arc::clone(&unread), _arrived: arrived }, unread)
    }
}

impl UnreadBody {
    /// Reads and discards the rest of a small body. Reads nothing if `client_waits`: the client may
    /// send the body only after it receives `100 Continue`. Returns false if the connection cannot
    /// be used for another request.
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

/// Reads a body to its end. Returns false if the body has more than [`UNREAD_BYTES_MAX`] or cannot
/// be read.
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
