//! Connects by TCP to one of several addresses (RFC 8305). If an address does not answer, the next
//! one is tried after a quarter of a second. The address that worked is tried first the next time.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::domain::Origin;

/// The time that an attempt has before the next attempt starts.
const HEAD_START: Duration = Duration::from_millis(250);
/// Maximum number of attempts at a time, because a name may have many addresses that do not answer.
const AT_ONCE_MAX: usize = 4;
/// Maximum number of failed addresses that an error names.
const SHOWN_MAX: usize = 4;

/// The address that accepted the last TCP connection of one connection of Jackfield, for each
/// granted origin and each proxy.
#[derive(Debug, Default)]
pub(crate) struct LastAddresses(Mutex<HashMap<Origin, IpAddr>>);

/// The addresses that were tried, each with its error. None accepted a connection.
#[derive(Debug)]
pub(crate) struct NotReached(Vec<(SocketAddr, io::Error)>);

impl fmt::Display for NotReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (address, error)) in self.0.iter().take(SHOWN_MAX).enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        match self.0.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for NotReached {}

impl LastAddresses {
    /// Connects to the first address of `origin` that accepts, and remembers the address.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        addresses: &[SocketAddr],
        until: Instant,
    ) -> Result<TcpStream, NotReached> {
        let last = self.0.lock().get(origin).copied();
        let stream = race(order(addresses, last), until).await?;
        if let Ok(address) = stream.peer_addr() {
            self.0.lock().insert(origin.clone(), address.ip());
        }
        // Requests are written as a whole, so waiting for more data only adds latency.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// Puts the address that worked last first. After it, the families take turns. Without it, the
/// family that the resolver prefers begins.
fn order(addresses: &[SocketAddr], last: Option<IpAddr>) -> Vec<SocketAddr> {
    let (worked, others): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| Some(address.ip()) == last);
    let prefers_v6 = match worked.first() {
        Some(worked) => !worked.is_ipv6(),
        None => addresses.first().is_some_and(SocketAddr::is_ipv6),
    };
    let (first, second): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|address| address.is_ipv6() == prefers_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = worked;
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

async fn race(addresses: Vec<SocketAddr>, until: Instant) -> Result<TcpStream, NotReached> {
    // With more addresses than attempts at a time, each attempt gets an equal share of the time.
    let rounds = u32::try_from(addresses.len().div_ceil(AT_ONCE_MAX)).unwrap_or(u32::MAX).max(1);
    let share = until.saturating_duration_since(Instant::now()) / rounds;
    let attempt = |address: SocketAddr| async move {
        let connected = timeout(share, TcpStream::connect(address)).await;
        connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| (address, error))
    };
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        if attempts.len() < AT_ONCE_MAX {
            attempts.extend(waiting.next().map(attempt));
        }
        let may_start = waiting.len() > 0 && attempts.len() < AT_ONCE_MAX;
        let ended = if may_start {
            timeout(HEAD_START, attempts.next()).await
        } else {
            Ok(attempts.next().await)
        };
        match ended {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(failure))) => failed.push(failure),
            Ok(None) => return Err(NotReached(failed)),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
