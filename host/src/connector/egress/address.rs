//! Which addresses a request may go to: resolve, check every address, pin.
//!
//! Judges addresses as values; an IPv6 form that embeds an IPv4 address is judged by that address.
//! Never connects.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use async_trait::async_trait;
use url::Host;

use crate::domain::Origin;

/// Addresses of one name that are looked at; a name with more is refused.
const ADDRESSES_MAX: usize = 32;

/// Where the addresses of a name come from; a test lets one name change its mind.
#[async_trait]
pub(super) trait Resolver: Send + Sync {
    /// All addresses of a name.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's own resolver.
pub(super) struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// What a connection says about addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Names may resolve to RFC 1918, ULA and shared (100.64/10) addresses.
    pub(super) allow_private: bool,
    /// The connector fixed this origin itself: public addresses only, whatever else is allowed.
    pub(super) public_only: bool,
}

/// Why there is no address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoAddress {
    /// The rules forbid it.
    Refused(String),
    /// The name has none.
    Unresolved(String),
}

/// The addresses of an origin, each of them checked; whoever connects uses these and no others.
///
/// # Errors
/// One forbidden address refuses the whole name: which of them is used is up to chance.
pub(super) async fn pin(
    resolver: &dyn Resolver,
    origin: &Origin,
    rules: Rules,
) -> Result<Vec<SocketAddr>, NoAddress> {
    let addresses = match origin.host() {
        Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
        Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
        Host::Domain(name) => resolver
            .resolve(name)
            .await
            .map_err(|error| NoAddress::Unresolved(format!("{name} does not resolve: {error}")))?,
    };
    if addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
        let count = addresses.len();
        return Err(NoAddress::Unresolved(format!("{origin} has {count} addresses")));
    }
    for ip in &addresses {
        judge(origin, *ip, rules)
            .map_err(|why| NoAddress::Refused(format!("{origin} is at {ip}: {why}")))?;
    }
    Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, origin.port())).collect())
}

/// Whether an origin may be reached at an address.
fn judge(origin: &Origin, ip: IpAddr, rules: Rules) -> Result<(), &'static str> {
    let named = matches!(origin.host(), Host::Domain(_));
    match reach(ip) {
        Reach::Never(why) => Err(why),
        Reach::Public => Ok(()),
        Reach::Loopback | Reach::Private if rules.public_only => {
            Err("an origin that the connector fixes must be public")
        }
        // Somebody who grants an address means that address.
        Reach::Loopback | Reach::Private if !named => Ok(()),
        Reach::Loopback if *origin.host() == Host::Domain("localhost".to_owned()) => Ok(()),
        Reach::Loopback => Err("only the name `localhost` may mean this machine"),
        Reach::Private if rules.allow_private => Ok(()),
        Reach::Private => Err("a private address; the connection's `allow_private` is off"),
    }
}

/// How far an address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    Private,
    Loopback,
    /// Nobody may grant it.
    Never(&'static str),
}

fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => embedded(ip).map_or_else(|| reach_v6(ip), reach_v4),
    }
}

fn reach_v4(ip: Ipv4Addr) -> Reach {
    match ip.octets() {
        [0, ..] => Reach::Never("an unspecified address"),
        [127, ..] => Reach::Loopback,
        [169, 254, ..] => Reach::Never("a link-local address, where metadata services live"),
        // Alibaba, Oracle and Azure answer here for what others keep at 169.254.169.254.
        [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => {
            Reach::Never("a metadata service")
        }
        [10, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [100, 64..=127, ..]
        | [198, 18..=19, ..] => Reach::Private,
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Reach::Never("an address reserved for protocols and documents")
        }
        [224..=239, ..] => Reach::Never("a multicast address"),
        [240..=255, ..] => Reach::Never("a reserved or broadcast address"),
        _ => Reach::Public,
    }
}

fn reach_v6(ip: Ipv6Addr) -> Reach {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Reach::Never("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254] => {
            Reach::Never("a metadata service")
        }
        [0xfc00..=0xfdff, ..] => Reach::Private,
        [0xfe80..=0xfeff, ..] => Reach::Never("a link-local or site-local address"),
        [0xff00..=0xffff, ..] => Reach::Never("a multicast address"),
        [0x0064, 0xff9b, 1, ..] | [0x2001, 0, ..] => {
            Reach::Never("an address that hides another one (local NAT64, Teredo)")
        }
        [0x0100, 0, 0, 0, ..] | [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => {
            Reach::Never("an address reserved for protocols and documents")
        }
        _ => Reach::Public,
    }
}

/// The IPv4 address inside a mapped, compatible, NAT64 or 6to4 address.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [o0, o1, ..] = ip.octets();
    let [.., o12, o13, o14, o15] = ip.octets();
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => {
            Some(Ipv4Addr::new(o12, o13, o14, o15))
        }
        [0x0064, 0xff9b, 0, 0, 0, 0, ..] => Some(Ipv4Addr::new(o12, o13, o14, o15)),
        [_, high, low, ..] if [o0, o1] == [0x20, 0x02] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Rules = Rules { allow_private: true, public_only: false };
    const SHUT: Rules = Rules { allow_private: false, public_only: false };

    fn may(origin: &str, ip: &str, rules: Rules) -> bool {
        judge(&origin.parse().unwrap(), ip.parse().unwrap(), rules).is_ok()
    }

    #[test]
    fn some_addresses_are_never_reached_whatever_is_granted() {
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "192.0.0.192",
            "168.63.129.16",
            "::",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "64:ff9b:1::1",
            "2001::1",
            "::ffff:0:169.254.169.254",
        ] {
            assert!(!may("http://tracker.example", ip, OPEN), "{ip}");
            let literal =
                if ip.contains(':') { format!("http://[{ip}]") } else { format!("http://{ip}") };
            assert!(!may(&literal, ip, OPEN), "{literal}");
        }
    }

    #[test]
    fn private_addresses_need_the_connections_word() {
        for ip in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "fc00::1",
            "fd12::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:0a00:0001::",
        ] {
            assert!(!may("http://tracker.example", ip, SHUT), "{ip}");
            assert!(may("http://tracker.example", ip, OPEN), "{ip}");
            assert!(
                !may("http://tracker.example", ip, Rules { public_only: true, ..OPEN }),
                "{ip}"
            );
        }
        assert!(may("http://10.0.0.1", "10.0.0.1", SHUT));
    }

    #[test]
    fn this_machine_is_reached_by_its_address_or_as_localhost() {
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!may("http://tracker.example", ip, OPEN), "{ip}");
            assert!(!may("http://x.localhost", ip, OPEN), "{ip}");
            assert!(may("http://localhost", ip, SHUT), "{ip}");
            assert!(!may("http://localhost", ip, Rules { public_only: true, ..OPEN }), "{ip}");
        }
        assert!(may("http://127.0.0.1:3000", "127.0.0.1", SHUT));
        assert!(may("http://tracker.example", "93.184.216.34", SHUT));
        assert!(may("http://tracker.example", "2606:2800:220:1::1", SHUT));
    }
}
