//! Decides to which addresses a request may go.
//!
//! Addresses are compared as numbers, not as texts. An IPv6 address that embeds an IPv4 address is
//! checked as the IPv4 address. This module never connects.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::Host;

use crate::domain::{ConnectionId, Origin};

use super::own::OwnAddresses;
use super::resolver::Resolver;

const OWN_SERVER_REASON: &str =
    "it is an address of this Jackfield server, which no connection may call";

/// Maximum number of addresses of one name. A name with more addresses is refused.
const ADDRESSES_MAX: usize = 32;

#[derive(Debug, Clone, Copy)]
pub(crate) struct AddressRules {
    /// Allows names to have loopback and private addresses, unless `public_only` is set.
    pub(crate) allow_private: bool,
    /// Whether only public addresses are allowed: the connector's manifest names the origin.
    pub(crate) public_only: bool,
}

/// The reason why no address of an origin can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    /// One of the origin's addresses is forbidden.
    #[error("{origin} has the address {ip}, which is not allowed: {reason}")]
    Forbidden {
        /// The origin with the address.
        origin: Origin,
        /// The forbidden address.
        ip: IpAddr,
        /// The rule, as a text for people.
        reason: &'static str,
    },
    /// The name could not be resolved.
    #[error("cannot resolve {name}: {source}")]
    Lookup {
        /// The host name.
        name: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// The name has no address, or more than the maximum.
    #[error("{origin} resolves to {count} addresses; 1 to {ADDRESSES_MAX} are supported")]
    AddressCount {
        /// The origin whose name was resolved.
        origin: Origin,
        /// The number of addresses.
        count: usize,
    },
}

/// Resolves the name of an origin and checks its addresses. The caller connects only to these
/// addresses, so a later change in DNS has no effect.
///
/// # Errors
/// The name cannot be resolved, has no address or too many addresses, or one of its addresses is
/// forbidden.
pub(crate) async fn resolve(
    resolver: &dyn Resolver,
    connection: ConnectionId,
    origin: &Origin,
    rules: AddressRules,
    own_addresses: &OwnAddresses,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let addresses = resolve_without_check(resolver, connection, origin).await?;
    for address in &addresses {
        let checked = match is_own_address(*address, own_addresses) {
            true => Err(OWN_SERVER_REASON),
            false => check_address(origin, address.ip(), rules),
        };
        checked.map_err(|reason| ResolveError::Forbidden {
            origin: origin.clone(),
            ip: address.ip(),
            reason,
        })?;
    }
    Ok(addresses)
}

/// Refuses `localhost` and `*.localhost` with a port of this server, because a proxy on this
/// machine would connect to this server. The host cannot check other names that the proxy resolves.
pub(crate) fn refuse_own_server_via_proxy(
    origin: &Origin,
    own_addresses: &OwnAddresses,
) -> Result<(), ResolveError> {
    let Host::Domain(name) = origin.host() else { return Ok(()) };
    let is_local = name == "localhost" || name.ends_with(".localhost");
    if is_local && own_addresses.has_port(origin.port()) {
        let (origin, ip) = (origin.clone(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        return Err(ResolveError::Forbidden { origin, ip, reason: OWN_SERVER_REASON });
    }
    Ok(())
}

fn is_own_address(address: SocketAddr, own_addresses: &OwnAddresses) -> bool {
    let embedded = match address.ip() {
        IpAddr::V6(ip) => embedded_v4(ip).map(IpAddr::V4),
        IpAddr::V4(_) => None,
    };
    let addresses = [Some(address.ip()), embedded];
    addresses
        .into_iter()
        .flatten()
        .any(|ip| own_addresses.may_reach_this_server(SocketAddr::new(ip, address.port())))
}

/// Resolves the name of an origin without checking its addresses. This is enough for a proxy,
/// because the operator chose the proxy.
///
/// # Errors
/// The name cannot be resolved, has no address, or has too many addresses.
pub(crate) async fn resolve_without_check(
    resolver: &dyn Resolver,
    connection: ConnectionId,
    origin: &Origin,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let addresses = match origin.host() {
        Host::Ipv4(ip) => vec![IpAddr::V4(*ip)],
        Host::Ipv6(ip) => vec![IpAddr::V6(*ip)],
        Host::Domain(name) => resolver
            .resolve(connection, name)
            .await
            .map_err(|source| ResolveError::Lookup { name: name.clone(), source })?,
    };
    if addresses.is_empty() || addresses.len() > ADDRESSES_MAX {
        let (origin, count) = (origin.clone(), addresses.len());
        return Err(ResolveError::AddressCount { origin, count });
    }
    Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, origin.port())).collect())
}

/// The error is the rule that forbids the address, as a text for people.
fn check_address(origin: &Origin, ip: IpAddr, rules: AddressRules) -> Result<(), &'static str> {
    let is_name = matches!(origin.host(), Host::Domain(_));
    match classify(ip) {
        AddressClass::Forbidden(reason) => Err(reason),
        AddressClass::Public => Ok(()),
        AddressClass::Loopback | AddressClass::Private if rules.public_only => {
            Err("the connector fixes this origin itself, so its address must be public")
        }
        // The origin is an IP address, so the person who granted the origin chose the address.
        AddressClass::Loopback | AddressClass::Private if !is_name => Ok(()),
        AddressClass::Loopback if *origin.host() == Host::Domain("localhost".to_owned()) => Ok(()),
        AddressClass::Loopback | AddressClass::Private if rules.allow_private => Ok(()),
        AddressClass::Loopback => Err(
            "it is a loopback address of this machine; allow it with `jackfield connections edit NAME \
             --allow-private true`, or use `localhost` in the settings",
        ),
        AddressClass::Private => Err(
            "it is a private address; allow it with `jackfield connections edit NAME --allow-private \
             true`",
        ),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressClass {
    Public,
    Private,
    Loopback,
    /// An address that no person can allow, for this reason.
    Forbidden(&'static str),
}

fn classify(ip: IpAddr) -> AddressClass {
    match ip {
        IpAddr::V4(ip) => classify_v4(ip),
        IpAddr::V6(ip) => embedded_v4(ip).map_or_else(|| classify_v6(ip), classify_v4),
    }
}

fn classify_v4(ip: Ipv4Addr) -> AddressClass {
    match ip.octets() {
        [0, ..] => AddressClass::Forbidden("it is in 0.0.0.0/8, which is no destination"),
        [127, ..] => AddressClass::Loopback,
        [169, 254, ..] => {
            AddressClass::Forbidden("it is a link-local address, where cloud metadata services are")
        }
        // Addresses of Alibaba, Oracle and Azure. The usual one, 169.254.169.254, is link-local.
        [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => {
            AddressClass::Forbidden("it is a cloud metadata service")
        }
        [10, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [100, 64..=127, ..]
        | [198, 18..=19, ..] => AddressClass::Private,
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => {
            AddressClass::Forbidden("it is reserved for protocols and documentation")
        }
        [224..=239, ..] => AddressClass::Forbidden("it is a multicast address"),
        [240..=255, ..] => AddressClass::Forbidden("it is a reserved or broadcast address"),
        _ => AddressClass::Public,
    }
}

fn classify_v6(ip: Ipv6Addr) -> AddressClass {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Forbidden("it is the unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254] => {
            AddressClass::Forbidden("it is a cloud metadata service")
        }
        [0xfc00..=0xfdff, ..] => AddressClass::Private,
        [0xfe80..=0xfeff, ..] => {
            AddressClass::Forbidden("it is a link-local or site-local address")
        }
        [0xff00..=0xffff, ..] => AddressClass::Forbidden("it is a multicast address"),
        [0x0064, 0xff9b, 1, ..] | [0x2001, 0, ..] => {
            AddressClass::Forbidden("it hides another address (local NAT64, Teredo)")
        }
        [0x0100, 0, 0, 0, ..] | [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => {
            AddressClass::Forbidden("it is reserved for protocols and documentation")
        }
        _ => AddressClass::Public,
    }
}

/// Returns the IPv4 address inside a mapped, compatible, translated, NAT64 or 6to4 address.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
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

    const PRIVATE_ALLOWED: AddressRules = AddressRules { allow_private: true, public_only: false };
    const PRIVATE_NOT_ALLOWED: AddressRules =
        AddressRules { allow_private: false, public_only: false };

    fn is_allowed(origin: &str, ip: &str, rules: AddressRules) -> bool {
        check_address(&origin.parse().unwrap(), ip.parse().unwrap(), rules).is_ok()
    }

    struct ManyAddresses(u8);

    #[async_trait::async_trait]
    impl Resolver for ManyAddresses {
        async fn resolve(&self, _: ConnectionId, _: &str) -> std::io::Result<Vec<IpAddr>> {
            Ok((0..self.0).map(|last_byte| IpAddr::from([93, 184, 216, last_byte])).collect())
        }
    }

    #[tokio::test]
    async fn a_name_has_at_most_32_addresses() {
        let origin = "http://tracker.example".parse().unwrap();
        for (count, is_allowed) in [(0, false), (1, true), (32, true), (33, false)] {
            let resolver = ManyAddresses(count);
            let connection = ConnectionId(uuid::Uuid::nil());
            let resolved = {
                let own_addresses = OwnAddresses::default();
                resolve(&resolver, connection, &origin, PRIVATE_NOT_ALLOWED, &own_addresses).await
            };
            assert_eq!(resolved.is_ok(), is_allowed, "{count} addresses");
        }
    }

    #[test]
    fn some_addresses_are_refused_even_if_they_are_granted() {
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
            assert!(!is_allowed("http://tracker.example", ip, PRIVATE_ALLOWED), "{ip}");
            let literal =
                if ip.contains(':') { format!("http://[{ip}]") } else { format!("http://{ip}") };
            assert!(!is_allowed(&literal, ip, PRIVATE_ALLOWED), "{literal}");
        }
    }

    #[test]
    fn a_name_may_resolve_to_a_private_address_only_with_allow_private() {
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
            assert!(!is_allowed("http://tracker.example", ip, PRIVATE_NOT_ALLOWED), "{ip}");
            assert!(is_allowed("http://tracker.example", ip, PRIVATE_ALLOWED), "{ip}");
            assert!(
                !is_allowed(
                    "http://tracker.example",
                    ip,
                    AddressRules { public_only: true, ..PRIVATE_ALLOWED }
                ),
                "{ip}"
            );
        }
        assert!(is_allowed("http://10.0.0.1", "10.0.0.1", PRIVATE_NOT_ALLOWED));
    }

    #[test]
    fn loopback_is_allowed_as_an_ip_address_as_localhost_or_with_allow_private() {
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!is_allowed("http://tracker.example", ip, PRIVATE_NOT_ALLOWED), "{ip}");
            assert!(is_allowed("http://tracker.example", ip, PRIVATE_ALLOWED), "{ip}");
            assert!(!is_allowed("http://x.localhost", ip, PRIVATE_NOT_ALLOWED), "{ip}");
            assert!(is_allowed("http://localhost", ip, PRIVATE_NOT_ALLOWED), "{ip}");
            assert!(
                !is_allowed(
                    "http://localhost",
                    ip,
                    AddressRules { public_only: true, ..PRIVATE_ALLOWED }
                ),
                "{ip}"
            );
        }
        assert!(is_allowed("http://127.0.0.1:3000", "127.0.0.1", PRIVATE_NOT_ALLOWED));
        assert!(is_allowed("http://tracker.example", "93.184.216.34", PRIVATE_NOT_ALLOWED));
        assert!(is_allowed("http://tracker.example", "2606:2800:220:1::1", PRIVATE_NOT_ALLOWED));
    }

    #[tokio::test]
    async fn the_server_itself_is_refused_even_if_its_address_is_granted() {
        let own_addresses = OwnAddresses::new(vec!["127.0.0.1:8080".parse().unwrap()]);
        let connection = ConnectionId(uuid::Uuid::nil());
        for (origin, is_allowed) in [
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
            ("http://[::ffff:127.0.0.1]:8080", false),
            ("http://[64:ff9b::127.0.0.1]:8080", false),
            ("http://127.0.0.1:8081", true),
        ] {
            let origin: Origin = origin.parse().unwrap();
            let resolver = ManyAddresses(1);
            let resolved =
                resolve(&resolver, connection, &origin, PRIVATE_ALLOWED, &own_addresses).await;
            assert_eq!(resolved.is_ok(), is_allowed, "{origin}");
        }
        for (origin, is_allowed) in [
            ("http://localhost:8080", false),
            ("http://x.localhost:8080", false),
            ("http://localhost:8081", true),
            ("http://tracker.example:8080", true),
        ] {
            let origin: Origin = origin.parse().unwrap();
            assert_eq!(
                refuse_own_server_via_proxy(&origin, &own_addresses).is_ok(),
                is_allowed,
                "{origin}"
            );
        }
    }
}
