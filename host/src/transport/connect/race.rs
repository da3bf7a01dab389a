//! Connects by TCP to one of several addresses, as in RFC 8305. The address that accepted the last
//! TCP connection is tried first. This module never resolves a name.

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

/// How long the host waits for an attempt before it starts the next attempt in addition.
const NEXT_ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Limited, because a name may have many addresses that do not answer.
const ATTEMPTS_AT_ONCE_MAX: usize = 4;
/// Maximum number of failed addresses that the text of an error contains.
const SHOWN_ADDRESSES_MAX: usize = 4;

/// For one connection of Jackfield: the address that accepted the last TCP connection, for each
/// origin and each proxy.
#[derive(Debug, Default)]
pub(crate) struct LastAddresses(Mutex<HashMap<Origin, IpAddr>>);

/// The addresses that were tried without success, each with its error.
#[derive(Debug)]
pub(crate) struct NoAddressReached(Vec<(SocketAddr, io::Error)>);

impl fmt::Display for NoAddressReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (address, error)) in self.0.iter().take(SHOWN_ADDRESSES_MAX).enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        match self.0.len().saturating_sub(SHOWN_ADDRESSES_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for NoAddressReached {}

impl LastAddresses {
    /// Connects to the first address that accepts the connection, and stores this address.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        addresses: &[SocketAddr],
        until: Instant,
    ) -> Result<TcpStream, NoAddressReached> {
        let last_address = self.0.lock().get(origin).copied();
        let stream =
            connect_to_accepting_address(order_addresses(addresses, last_address), until).await?;
        if let Ok(address) = stream.peer_addr() {
            self.0.lock().insert(origin.clone(), address.ip());
        }
        // Without this, the system may delay the end of a request to wait for more data.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// Puts the address that accepted the last TCP connection first. After it, IPv6 and IPv4 addresses
/// alternate. Without such an address, the first one has the family of the resolver's first
/// address.
fn order_addresses(addresses: &[SocketAddr], last_address: Option<IpAddr>) -> Vec<SocketAddr> {
    let (last_accepted, others): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| Some(address.ip()) == last_address);
    let prefers_v6 = match last_accepted.first() {
        Some(last_accepted) => !last_accepted.is_ipv6(),
        None => addresses.first().is_some_and(SocketAddr::is_ipv6),
    };
    let (first, second): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|address| address.is_ipv6() == prefers_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = last_accepted;
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

async fn connect_to_accepting_address(
    addresses: Vec<SocketAddr>,
    until: Instant,
) -> Result<TcpStream, NoAddressReached> {
    // If there are more addresses than attempts at a time, each attempt gets only a part of the
    // remaining time, so that every address is tried.
    let rounds =
        u32::try_from(addresses.len().div_ceil(ATTEMPTS_AT_ONCE_MAX)).unwrap_or(u32::MAX).max(1);
    let time_of_attempt = until.saturating_duration_since(Instant::now()) / rounds;
    let attempt = |address: SocketAddr| async move {
        let connected = timeout(time_of_attempt, TcpStream::connect(address)).await;
        connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| (address, error))
    };
    let mut untried = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = Vec::new();
    loop {
        if attempts.len() < ATTEMPTS_AT_ONCE_MAX {
            attempts.extend(untried.next().map(attempt));
        }
        let may_start = untried.len() > 0 && attempts.len() < ATTEMPTS_AT_ONCE_MAX;
        let ended = if may_start {
            timeout(NEXT_ATTEMPT_DELAY, attempts.next()).await
        } else {
            Ok(attempts.next().await)
        };
        match ended {
            Ok(Some(Ok(stream))) => return Ok(stream),
            Ok(Some(Err(failure))) => failed.push(failure),
            Ok(None) => return Err(NoAddressReached(failed)),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
