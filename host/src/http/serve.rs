//! Accepts client connections and answers their requests (HTTP/1.1) with a router until shutdown.
//!
//! Limits what clients without credentials can occupy: the number of connections, the time until
//! the first byte, for a request's head and between two requests. Also limits the time for the last
//! answers after shutdown begins.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;

use super::client_address::ClientAddress;
use super::clients::{Arriving, Client, ClientLimits, Clients};
use super::problem::{self, Problem};

/// Maximum size of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const TOO_MANY: &str = "too many requests from this address arrive at once";
/// The pause after the process ran out of file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until `shutdown`. Then accepts no more connections, and waits at most `drain`
/// for answers in progress.
///
/// # Errors
/// The listener failed permanently.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ClientLimits,
    shutdown: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    let connections = GracefulShutdown::new();
    let clients = Arc::new(Clients::new(limits));
    loop {
        let (stream, peer) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    retry_or_fail(error).await?;
                    continue;
                }
            },
        };
        let client = tokio::select! {
            () = shutdown.cancelled() => break,
            client = clients.admit(peer.ip()) => Arc::new(client),
        };
        let (router, watcher, shutdown) = (router.clone(), connections.watcher(), shutdown.clone());
        tokio::spawn(async move {
            let (timeout, mut first_byte) = (client.limits().first_byte, [0]);
            tokio::select! {
                biased;
                () = client.close_requested() => return,
                () = shutdown.cancelled() => return,
                first = tokio::time::timeout(timeout, stream.peek(&mut first_byte)) => {
                    if !matches!(first, Ok(Ok(1))) {
                        return;
                    }
                }
            }
            serve_client(stream, client, router, watcher).await;
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, connections.shutdown()).await.is_err() {
        tracing::warn!("some answers did not finish within {} s of shutdown", drain.as_secs());
    }
    Ok(())
}

/// Answers the requests of one connection until it ends, is closed for a new one, or exceeds a
/// time-out.
async fn serve_client(stream: TcpStream, client: Arc<Client>, router: Router, watcher: Watcher) {
    // Answers are small; Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    let answering = Arc::clone(&client);
    let service =
        service_fn(move |request| answer(Arc::clone(&answering), router.clone(), request));
    // The first byte has already arrived.
    client.timing.await_head();
    let receiving = Arc::clone(&client);
    let stream = InspectReader::new(stream, move |_| receiving.timing.received());
    // hyper has only one time-out for both the pause between requests and the head, so `timing`
    // replaces it.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        // Client disconnects are expected; ignore.
        _ = watcher.watch(connection) => {}
        () = client.close_requested() => {}
        () = client.timing.overdue() => {}
    }
}

/// Answers a request. Marks the connection as busy when the request has arrived, and as idle when
/// the answer was sent.
async fn answer(
    client: Arc<Client>,
    router: Router,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    client.timing.head_complete();
    let forwarded = client.forwarded_for(request.headers());
    let arriving = forwarded.map(|address| client.count_arriving(address));
    let response = if matches!(arriving, Some(None)) {
        let path = request.uri().path().to_owned();
        problem::complete(Problem::rate_limited(TOO_MANY, Duration::ZERO).into_response(), &path)
    } else {
        let address = ClientAddress(forwarded.unwrap_or(client.peer));
        let arrived = BusyOnDrop { client: Arc::clone(&client), _arriving: arriving.flatten() };
        let mut request = request.map(|body| {
            if body.is_end_stream() {
                drop(arrived);
                return Body::empty();
            }
            // The handler drops the body, and with it the guard, after it has read the body or
            // decided not to read it.
            Body::new(body.map_frame(move |frame| {
                let _ = &arrived;
                frame
            }))
        });
        request.extensions_mut().insert(address);
        let service = TowerToHyperService::new(router);
        match hyper::service::Service::call(&service, request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    let sent = IdleOnDrop(client);
    Ok(response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &sent;
            frame
        }))
    }))
}

/// When this guard is dropped, a request has arrived completely.
struct BusyOnDrop {
    client: Arc<Client>,
    _arriving: Option<Arriving>,
}

impl Drop for BusyOnDrop {
    fn drop(&mut self) {
        self.client.mark_busy();
    }
}

/// When this guard is dropped, an answer was sent.
struct IdleOnDrop(Arc<Client>);

impl Drop for IdleOnDrop {
    fn drop(&mut self) {
        self.0.mark_idle();
    }
}

/// Handles an error of `accept`. Most are temporary: the client disconnected, or the file
/// descriptors ran out.
async fn retry_or_fail(error: io::Error) -> io::Result<()> {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput};
    match error.kind() {
        ConnectionAborted | ConnectionReset | Interrupted => Ok(()),
        InvalidInput => Err(error),
        _ => {
            tracing::warn!(%error, "cannot accept a connection; trying again");
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
