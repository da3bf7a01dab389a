//! Accepts client connections and serves a router on them, HTTP/1.1, until shutdown.
//!
//! Limits what clients without credentials can occupy: the number of connections, the time for a first byte,
//! for a request's head and between two requests, and the time for the last answers after shutdown began.

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

/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const TOO_MANY: &str = "too many requests from this address arrive at once";
/// The pause after the process ran out of file descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`; then accepts nothing more and lets answers in progress finish, for at most
/// `drain`.
///
/// # Errors
/// The listener failed for good.
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
                    pause_or_fail(error).await?;
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
                () = client.told_to_close() => return,
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

async fn serve_client(stream: TcpStream, client: Arc<Client>, router: Router, watcher: Watcher) {
    // Answers are small; Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    let answering = Arc::clone(&client);
    let service =
        service_fn(move |request| answer(Arc::clone(&answering), router.clone(), request));
    // The first byte is here already.
    client.timing.await_head();
    let receiving = Arc::clone(&client);
    let stream = InspectReader::new(stream, move |_| receiving.timing.received());
    // hyper has one time-out for the pause between requests and for the head together.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        // Client disconnects are expected; ignore.
        _ = watcher.watch(connection) => {}
        () = client.told_to_close() => {}
        () = client.timing.overdue() => {}
    }
}

/// Answers a request, and tells the connection when it has arrived and when its answer was sent.
async fn answer(
    client: Arc<Client>,
    router: Router,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    client.timing.head_complete();
    let forwarded = client.forwards(request.headers());
    let arriving = forwarded.map(|address| client.arriving(address));
    let response = if matches!(arriving, Some(None)) {
        let path = request.uri().path().to_owned();
        problem::complete(Problem::rate_limited(TOO_MANY, Duration::ZERO).into_response(), &path)
    } else {
        let address = ClientAddress(forwarded.unwrap_or(client.peer));
        let arrived = Arrived { client: Arc::clone(&client), _arriving: arriving.flatten() };
        let mut request = request.map(|body| {
            if body.is_end_stream() {
                drop(arrived);
                return Body::empty();
            }
            // The handler drops the body when it has read it, or when it will not read it.
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
    let sent = Sent(client);
    Ok(response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &sent;
            frame
        }))
    }))
}

/// When it is dropped, a request has arrived.
struct Arrived {
    client: Arc<Client>,
    _arriving: Option<Arriving>,
}

impl Drop for Arrived {
    fn drop(&mut self) {
        self.client.work();
    }
}

/// When it is dropped, an answer was sent.
struct Sent(Arc<Client>);

impl Drop for Sent {
    fn drop(&mut self) {
        self.0.rest();
    }
}

/// Accepting fails either because that client disconnected, or because descriptors ran out, which is
/// temporary.
async fn pause_or_fail(error: io::Error) -> io::Result<()> {
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
