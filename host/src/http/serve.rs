//! Accepts client connections, and answers their requests (HTTP/1.1 and HTTP/2) with a router until
//! shutdown.
//!
//! Clients without credentials never use unlimited resources: the number of connections, the time
//! for a request's head, the time between two requests, and the rest of a refused body are limited.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, Request, Response, Version};
use axum::response::IntoResponse as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::time::{sleep, timeout};
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client_address::RequestClient;
use super::clients::{Client, ClientHandle, Clients, SharedLimits};
use super::lingering::Lingering;
use super::listener::{
    AcceptedConnection, ByteStream, ConnectionOptions, Listener, Peer, is_client_disconnect,
};
use super::problem::{self, Problem};
use super::progress::RequestProgress;
use super::request_body::RequestBody;
use super::security_headers;

/// Maximum size of a request's head, bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of simultaneous requests of one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;
/// Maximum number of bytes of an HTTP/2 answer that are buffered while the client reads slowly.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
const TOO_MANY_ARRIVING_REQUESTS: &str = "too many requests from this address arrive at once";
/// The pause after a temporary error of `accept` that is not a client disconnect.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// How long requests on open HTTP/1.1 connections are still answered after the shutdown began. A
/// client of HTTP/1.1 does not know yet that the server ends, and a proxy must not repeat a POST
/// that it has sent. HTTP/2 does not need this time, because it has the frame GOAWAY.
pub const LAST_REQUESTS_TIME: Duration = Duration::from_secs(1);

/// Answers requests until `shutdown` is cancelled. Then accepts the connections in the kernel's
/// queue, unless the service manager passed the socket. Answers requests of HTTP/1.1 for another
/// [`LAST_REQUESTS_TIME`], and waits at most `drain` until all connections are closed.
///
/// # Errors
/// The listening socket failed permanently.
pub async fn serve(
    listener: Listener,
    router: Router,
    limits: SharedLimits,
    shutdown: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    let Listener { socket, is_passed, tls, proxy_protocol } = listener;
    let server = Server {
        router,
        clients: Arc::new(Clients::new(limits)),
        options: ConnectionOptions { tls, proxy_protocol },
        shutdown: shutdown.clone(),
        last_requests_over: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let (shutdown_begun, last_requests_over) =
        (shutdown.clone(), server.last_requests_over.clone());
    tokio::spawn(async move {
        shutdown_begun.cancelled().await;
        sleep(LAST_REQUESTS_TIME).await;
        last_requests_over.cancel();
    });
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((accepted, peer)) => server.spawn_connection(accepted, peer).await,
            Err(error) => retry_or_fail(error).await?,
        }
    }
    // If the service manager passed the socket, the next server accepts the queued connections.
    let queued = (!is_passed).then(|| socket.into_queued_connections());
    for (accepted, peer) in queued.into_iter().flatten() {
        server.spawn_connection(accepted, peer).await;
        if server.last_requests_over.is_cancelled() {
            break;
        }
    }
    if timeout(drain, server.wait_for_connections()).await.is_err() {
        tracing::warn!(
            "some answers were not sent completely within {} s after the shutdown began",
            drain.as_secs()
        );
    }
    Ok(())
}

/// The state that all connections of a listener share.
struct Server {
    router: Router,
    clients: Arc<Clients>,
    options: ConnectionOptions,
    shutdown: CancellationToken,
    /// Cancelled [`LAST_REQUESTS_TIME`] after the shutdown began.
    last_requests_over: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Waits for the admission of the connection. If it is admitted, starts a task that serves it.
    async fn spawn_connection(&self, accepted: AcceptedConnection, peer: Peer) {
        let client = tokio::select! {
            () = self.last_requests_over.cancelled() => return,
            client = self.clients.admit(peer) => client.map(Arc::new),
        };
        let Some(client) = client else { return };
        let (router, options) = (self.router.clone(), self.options.clone());
        let shutdown = self.shutdown.clone();
        let last_requests_over = self.last_requests_over.clone();
        self.tasks.spawn(async move {
            let opened = tokio::select! {
                biased;
                () = client.close_requested() => return,
                () = last_requests_over.cancelled() => return,
                opened = open_connection(accepted, &options, &client) => opened,
            };
            if let Some(stream) = opened {
                serve_client(stream, client, router, shutdown, last_requests_over).await;
            }
        });
    }

    async fn wait_for_connections(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Returns `None` if the first byte, the PROXY header or the TLS handshake fails or is too late.
async fn open_connection(
    accepted: AcceptedConnection,
    options: &ConnectionOptions,
    client: &Client,
) -> Option<Box<dyn ByteStream>> {
    let limits = client.limits();
    timeout(limits.first_byte, accepted.wait_for_first_byte()).await.ok()?.ok()?;
    let opened = timeout(limits.head, accepted.open(options, client.is_proxy())).await.ok()?;
    match opened {
        Ok(opened) => {
            client.set_before_http(&opened);
            Some(opened.stream)
        }
        Err(error) => {
            tracing::debug!(%error, "a client sent no valid PROXY header or TLS handshake");
            None
        }
    }
}

/// Answers the requests of one connection until the client or the server closes it.
async fn serve_client(
    stream: Box<dyn ByteStream>,
    client: Arc<Client>,
    router: Router,
    shutdown: CancellationToken,
    last_requests_over: CancellationToken,
) {
    // Cancelled when the first HTTP/2 request arrives.
    let uses_http2 = CancellationToken::new();
    let (service_client, leaves_unread) = (Arc::clone(&client), Arc::<AtomicBool>::default());
    let stream = Lingering::new(stream, Arc::clone(&leaves_unread));
    let (http2_seen, service_shutdown) = (uses_http2.clone(), shutdown.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (client, router) = (Arc::clone(&service_client), router.clone());
        let (leaves_unread, shutdown) = (Arc::clone(&leaves_unread), service_shutdown.clone());
        let is_http2 = request.version() == Version::HTTP_2;
        if is_http2 {
            http2_seen.cancel();
        }
        async move {
            let mut response = answer_request(client, router, leaves_unread, request).await?;
            if shutdown.is_cancelled() && !is_http2 {
                response.headers_mut().insert(CONNECTION, CLOSE);
            }
            Ok::<_, Infallible>(response)
        }
    });
    client.timeouts.start_head_timeout();
    let reader_client = Arc::clone(&client);
    let stream =
        InspectReader::new(stream, move |_| reader_client.timeouts.record_received_bytes());
    // Turn off the time-out of hyper, because hyper uses the same one for a head and for the pause
    // between two requests. `client.timeouts` has separate time-outs.
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX);
    let head_bytes_max = u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX);
    builder
        .http2()
        .max_header_list_size(head_bytes_max)
        .max_concurrent_streams(STREAMS_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = async {
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = last_requests_over.cancelled() => {}
            // End an HTTP/2 connection without delay, because the frame GOAWAY tells the client
            // which of its requests is the last one that is answered.
            () = async { uses_http2.cancelled().await; shutdown.cancelled().await } => {}
        }
        connection.as_mut().graceful_shutdown();
        // Ignore the result, because clients often disconnect without notice.
        let _ = connection.await;
    };
    tokio::select! {
        biased;
        () = served => {}
        () = client.close_requested() => {}
        () = client.timeouts.wait_until_overdue() => {}
    }
}

/// Answers a request. The connection counts as busy from the time at which no more of the request
/// is read, until the HTTP library has received the whole answer.
async fn answer_request(
    client: Arc<Client>,
    router: Router,
    leaves_unread: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let is_http2 = request.version() == Version::HTTP_2;
    if is_http2 {
        client.timeouts.ignore_received_bytes();
    }
    let (request_client, contradiction) = match client.request_client(request.headers()) {
        Ok(found) => (found, None),
        Err(error) => (RequestClient::UNKNOWN, Some(Problem::bad_request(error.to_string()))),
    };
    let is_counted = request_client.is_forwarded || is_http2;
    let arriving = is_counted.then(|| client.count_arriving(request_client.address));
    let too_many = || Problem::rate_limited(TOO_MANY_ARRIVING_REQUESTS, Duration::ZERO);
    let refused = contradiction.or_else(|| matches!(arriving, Some(None)).then(too_many));
    let (arrived, answered) = RequestProgress::begin(&client, arriving.flatten());
    let expects_continue = request.headers().contains_key(EXPECT);
    let mut unread = None;
    let mut request = request.map(|body| {
        if body.is_end_stream() {
            drop(arrived);
            return Body::empty();
        }
        // The handler drops the body after it has read it, or has decided not to read it. With the
        // body, it drops the guard `arrived`.
        let (body, rest) = RequestBody::new(body, arrived);
        unread = Some(rest);
        Body::new(body)
    });
    let mut response = if let Some(refused) = refused {
        let path = request.uri().path().to_owned();
        drop(request);
        problem::add_body(refused.into_response(), &path)
    } else {
        request.extensions_mut().insert(request_client);
        request.extensions_mut().insert(ClientHandle(Arc::downgrade(&client)));
        let service = TowerToHyperService::new(router);
        match hyper::service::Service::call(&service, request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    if let Some(unread) = unread.filter(|_| !is_http2)
        && !unread.discard_rest(expects_continue).await
    {
        response.headers_mut().insert(CONNECTION, CLOSE);
        leaves_unread.store(true, Ordering::Relaxed);
    }
    security_headers::add(response.headers_mut(), request_client.is_https);
    Ok(response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &answered;
            frame
        }))
    }))
}

/// Handles an error of `accept`, and returns only an error that is permanent.
async fn retry_or_fail(error: io::Error) -> io::Result<()> {
    match error.kind() {
        _ if is_client_disconnect(&error) => Ok(()),
        io::ErrorKind::InvalidInput => Err(error),
        _ => {
            tracing::warn!(%error, "cannot accept a connection; trying again");
            sleep(ACCEPT_PAUSE).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
