//! The body of a request, which its handler may leave unread.
//!
//! An HTTP/1.1 connection can answer another request only after the whole body was read. If it
//! cannot, the answer says so: a client that is not told sends its next request into a closed
//! connection.

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

/// A body of which more is missing is not read for the sake of the connection.
const UNREAD_BYTES_MAX: u64 = 64 * 1024;
/// How long the rest of a small body may take: it is usually in the next packet.
const UNREAD_TIMEOUT: Duration = Duration::from_millis(200);

/// A body that is not empty, as its handler gets it.
pub(super) struct RequestBody {
    body: Option<Incoming>,
    unread: Arc<Unread>,
    _arrived: ArrivedOnDrop,
}

/// What the handler left of a body.
pub(super) struct Unread(Mutex<Rest>);

enum Rest {
    /// The rest cannot be read: the handler still has the body, or reading it failed.
    Unavailable,
    /// The handler has read it to its end.
    Nothing,
    /// The handler did not read it to its end.
    Body(Incoming),
}

impl RequestBody {
    /// Wraps a body; the other value knows what is left of it.
    pub(super) fn new(body: Incoming, arrived: ArrivedOnDrop) -> (Self, Arc<Unread>) {
        let unread = Arc::new(Unread(Mutex::new(Rest::Unavailable)));
        (Self { body: Some(body), unread: Arc::clone(&unread), _arrived: arrived }, unread)
    }
}

impl Unread {
    /// Reads the rest of a small body, unless the client `waits` for leave to send it. False: the
    /// connection cannot answer another request.
    pub(super) async fn read(&self, waits: bool) -> bool {
        let rest = std::mem::replace(&mut *self.0.lock(), Rest::Unavailable);
        match rest {
            Rest::Nothing => true,
            Rest::Unavailable => false,
            Rest::Body(_) if waits => false,
            Rest::Body(body) => timeout(UNREAD_TIMEOUT, read_rest(body)).await.unwrap_or(false),
        }
    }
}

async fn read_rest(mut body: Incoming) -> bool {
    let mut left = UNREAD_BYTES_MAX;
    if body.size_hint().lower() > left {
        return false;
    }
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)) {
            Some(rest) => left = rest,
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
