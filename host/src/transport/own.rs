//! This server itself: the name of its machine, and the addresses on which it listens. Connections
//! must not send requests to these addresses: the server might take such a request for one from a
//! trusted proxy on its machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The addresses on which this server listens.
#[derive(Debug, Clone, Default)]
pub struct OwnAddresses(Vec<SocketAddr>);

impl OwnAddresses {
    /// Stores the addresses of the listening sockets.
    #[must_use]
    pub fn new(listening: Vec<SocketAddr>) -> Self {
        Self(listening)
    }

    /// Whether a TCP connection to an address may reach this server. With a port of this server,
    /// every address of the machine counts, because the machine may redirect it to the listening
    /// address.
    pub(crate) fn may_reach_this_server(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.has_port(address.port())
            && (ip.is_loopback()
                || ip.is_unspecified()
                || self.0.iter().any(|own| own.ip().to_canonical() == ip)
                || is_of_this_machine(ip))
    }

    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.0.iter().any(|own| own.port() == port)
    }
}

/// Returns the name of the machine or the container, or an empty text.
#[must_use]
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Whether one of the machine's interfaces has this address. The kernel then chooses the same
/// address as the local end of a connection. `connect` on a UDP socket sends nothing.
fn is_of_this_machine(ip: IpAddr) -> bool {
    let any = match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let local_address = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    local_address.is_ok_and(|local| local.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_the_server_reaches_the_server_on_each_address_of_the_machine() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let own = OwnAddresses::new(vec![parse("192.0.2.7:8080"), parse("[::]:8081")]);
        for address in [
            "127.0.0.1:8080",
            "127.9.9.9:8081",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:8080",
            "0.0.0.0:8081",
            "[::]:8080",
            "192.0.2.7:8080",
            "192.0.2.7:8081",
        ] {
            assert!(own.may_reach_this_server(parse(address)), "{address}");
        }
        for address in ["127.0.0.1:8082", "192.0.2.7:80", "192.0.2.8:8080", "203.0.113.1:8081"] {
            assert!(!own.may_reach_this_server(parse(address)), "{address}");
        }
        assert!(!OwnAddresses::default().may_reach_this_server(parse("127.0.0.1:8080")));
    }

    #[test]
    fn an_address_of_an_interface_is_found() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.1:9").is_ok() {
            assert!(is_of_this_machine(socket.local_addr().unwrap().ip()));
        }
        assert!(!is_of_this_machine(IpAddr::from([192, 0, 2, 1])));
    }
}
