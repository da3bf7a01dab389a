//! Accepts client connections and answers their requests (HTTP/1.1 and HTTP/2) with a router until
//! shutdown.
//!
//! Limits what clients without credentials can occupy: the number of connections, the time until
//! the first byte, for a request's head and between two requests, and the bytes and the time that a
//! client may go on sending after it was refused. Also limits the time for the last requests and
//! answers after shutdown begins.

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

use super::client_address::ClientOrigin;
use super::clients::{Client, ClientHandle, Clients, SharedLimits};
use super::lingering::Lingering;
use super::listener::{Accepted, ByteStream, Listener, Options, Peer, is_of_one_connection};
use super::problem::{self, Problem};
use super::progress::Progress;
use super::request_body::RequestBody;
use super::security_headers;

/// Maximum size of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of requests at a time of one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;
/// Maximum bytes of answers that wait for one HTTP/2 request of a slow client.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
const TOO_MANY: &str = "too many requests from this address arrive at once";
/// The pause after the process ran out of file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// How long requests are accepted on open connections of HTTP/1.1 after the shutdown began: their
/// clients do not know yet that the server ends, and a proxy must not repeat a POST that it has
/// sent. HTTP/2 tells a client that has sent a request at once.
pub const LAST_REQUESTS_TIME: Duration = Duration::from_secs(1);

/// Answers requests until `shutdown`. Then accepts only the connections that are queued, answers
/// what arrives on open ones for [`LAST_REQUESTS_TIME`], and waits at most `drain` for answers in
/// progress.
///
/// # Errors
/// The listener failed permanently.
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
        options: Options { tls, proxy_protocol },
        shutdown: shutdown.clone(),
        over: CancellationToken::new(),
        tasks: TaskTracker::new(),
    };
    let (begun, over) = (shutdown.clone(), server.over.clone());
    tokio::spawn(async move {
        begun.cancelled().await;
        sleep(LAST_REQUESTS_TIME).await;
        over.cancel();
    });
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((accepted, peer)) => server.begin(accepted, peer).await,
            Err(error) => retry_or_fail(error).await?,
        }
    }
    // Connections in the queue of a passed socket are for the next server.
    let queued = (!is_passed).then(|| socket.into_queued());
    for (accepted, peer) in queued.into_iter().flatten() {
        server.begin(accepted, peer).await;
        if server.over.is_cancelled() {
            break;
        }
    }
    if timeout(drain, server.finish()).await.is_err() {
        tracing::warn!("some answers did not finish within {} s of shutdown", drain.as_secs());
    }
    Ok(())
}

/// What the connections of a listener share.
struct Server {
    router: Router,
    clients: Arc<Clients>,
    options: Options,
    shutdown: CancellationToken,
    /// Cancelled [`LAST_REQUESTS_TIME`] after the shutdown: then connections without a request are
    /// closed.
    over: CancellationToken,
    /// A task for each connection.
    tasks: TaskTracker,
}

impl Server {
    /// Serves a connection by a task of its own. Waits first if there are too many connections.
    async fn begin(&self, accepted: Accepted, peer: Peer) {
        let client = tokio::select! {
            () = self.over.cancelled() => return,
            client = self.clients.admit(peer) => client.map(Arc::new),
        };
        let Some(client) = client else { return };
        let (router, options) = (self.router.clone(), self.options.clone());
        let (shutdown, over) = (self.shutdown.clone(), self.over.clone());
        self.tasks.spawn(async move {
            let opened = tokio::select! {
                biased;
                () = client.close_requested() => return,
                () = over.cancelled() => return,
                opened = open(accepted, &options, &client) => opened,
            };
            if let Some(stream) = opened {
                serve_client(stream, client, router, shutdown, over).await;
            }
        });
    }

    /// Waits for the last requests, and until they are answered.
    async fn finish(self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Reads what precedes HTTP on a connection. `None` if the client sends nothing in time, or
/// something else.
async fn open(
    accepted: Accepted,
    options: &Options,
    client: &Client,
) -> Option<Box<dyn ByteStream>> {
    let limits = client.limits();
    timeout(limits.first_byte, accepted.first_byte()).await.ok()?.ok()?;
    let opened = timeout(limits.head, accepted.open(options, client.is_proxy())).await.ok()?;
    match opened {
        Ok(opened) => {
            client.set_opened(&opened);
            Some(opened.stream)
        }
        Err(error) => {
            tracing::debug!(%error, "a client connection does not begin as it must");
            None
        }
    }
}

/// Answers the requests of one connection until it ends, is closed for a new one, or exceeds a
/// time-out.
async fn serve_client(
    stream: Box<dyn ByteStream>,
    client: Arc<Client>,
    router: Router,
    shutdown: CancellationToken,
    over: CancellationToken,
) {
    // Cancelled at the first request of HTTP/2.
    let uses_http2 = CancellationToken::new();
    let (answering, leaves_unread) = (Arc::clone(&client), Arc::<AtomicBool>::default());
    let stream = Lingering::new(stream, Arc::clone(&leaves_unread));
    let (http2, ends) = (uses_http2.clone(), shutdown.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (client, router) = (Arc::clone(&answering), router.clone());
        let (leaves_unread, shutdown) = (Arc::clone(&leaves_unread), ends.clone());
        let is_http2 = request.version() == Version::HTTP_2;
        if is_http2 {
            http2.cancel();
        }
        async move {
            let mut response = answer(client, router, leaves_unread, request).await?;
            if shutdown.is_cancelled() && !is_http2 {
                response.headers_mut().insert(CONNECTION, CLOSE);
            }
            Ok::<_, Infallible>(response)
        }
    });
    client.timing.await_head();
    let receiving = Arc::clone(&client);
    let stream = InspectReader::new(stream, move |_| receiving.timing.received());
    // hyper has only one time-out for both the pause between requests and the head, so `timing`
    // replaces it.
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
            () = over.cancelled() => {}
            // The client learns which of its requests is the last one that is answered.
            () = async { uses_http2.cancelled().await; shutdown.cancelled().await } => {}
        }
        connection.as_mut().graceful_shutdown();
        // Client disconnects are expected; ignore.
        let _ = connection.await;
    };
    tokio::select! {
        biased;
        () = served => {}
        () = client.close_requested() => {}
        () = client.timing.overdue() => {}
    }
}

/// Answers a request. The connection is busy when the request has arrived, and idle when the answer
/// was sent.
async fn answer(
    client: Arc<Client>,
    router: Router,
    leaves_unread: Arc<AtomicBool>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let is_http2 = request.version() == Version::HTTP_2;
    if is_http2 {
        client.timing.ignore_received();
    }
    let (origin, contradiction) = match client.origin(request.headers()) {
        Ok(origin) => (origin, None),
        Err(error) => (ClientOrigin::UNKNOWN, Some(Problem::bad_request(error.to_string()))),
    };
    let is_counted = origin.is_forwarded || is_http2;
    let arriving = is_counted.then(|| client.count_arriving(origin.address));
    let too_many = || Problem::rate_limited(TOO_MANY, Duration::ZERO);
    let refused = contradiction.or_else(|| matches!(arriving, Some(None)).then(too_many));
    let (arrived, answered) = Progress::begin(&client, arriving.flatten());
    let waits = request.headers().contains_key(EXPECT);
    let mut unread = None;
    let mut request = request.map(|body| {
        if body.is_end_stream() {
            drop(arrived);
            return Body::empty();
        }
        // The handler drops the body, and with it the guard, after it has read the body or decided
        // not to read it.
        let (body, rest) = RequestBody::new(body, arrived);
        unread = Some(rest);
        Body::new(body)
    });
    let mut response = if let Some(refused) = refused {
        let path = request.uri().path().to_owned();
        drop(request);
        problem::add_body(refused.into_response(), &path)
    } else {
        request.extensions_mut().insert(origin);
        request.extensions_mut().insert(ClientHandle(Arc::downgrade(&client)));
        let service = TowerToHyperService::new(router);
        match hyper::service::Service::call(&service, request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    if let Some(unread) = unread.filter(|_| !is_http2)
        && !unread.discard_rest(waits).await
    {
        response.headers_mut().insert(CONNECTION, CLOSE);
        leaves_unread.store(true, Ordering::Relaxed);
    }
    security_headers::add(response.headers_mut(), origin.is_https);
    Ok(response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &answered;
            frame
        }))
    }))
}

/// Handles an error of `accept`. Most are temporary: the client disconnected, or the file
/// descriptors ran out.
async fn retry_or_fail(error: io::Error) -> io::Result<()> {
    match error.kind() {
        _ if is_of_one_connection(&error) => Ok(()),
        io::ErrorKind::InvalidInput => Err(error),
        _ => {
            tracing::warn!(%error, "cannot accept a connection; trying again");
            sleep(EXHAUSTED_PAUSE).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
