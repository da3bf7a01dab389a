//! Accepts connections and serves a router on them, HTTP/1.1, until told to stop.
//!
//! Bounds what strangers can hold: how many connections, how long a request's head may take, how
//! long the last answers may take after the end was announced.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections at a time; further ones wait in the listener's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// From a connection's start, or the end of its last answer, until a request's head is whole.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A pause after the system had no descriptor for a new connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`; then accepts nothing more and lets running answers finish, for at most
/// `drain`.
///
/// # Errors
/// The listener failed for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    let connections = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = tokio::select! {
            () = shutdown.cancelled() => break,
            place = Arc::clone(&room).acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_or_fail(error).await?;
                    continue;
                }
            },
        };
        let connection = connections.watch(connection(stream, &router));
        tokio::spawn(async move {
            // A client that went away is no news.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, connections.shutdown()).await.is_err() {
        tracing::warn!("some answers did not finish within {} s of the end", drain.as_secs());
    }
    Ok(())
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>>;

fn connection(stream: TcpStream, router: &Router) -> Connection {
    // Answers are small: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()))
}

/// A failed accept is either that connection's own end, or want of descriptors, which passes.
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
