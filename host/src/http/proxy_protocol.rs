//! The header of the PROXY protocol, version 1 or 2, with which a proxy names the client of a
//! connection.
//!
//! Source: <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>. Never reads a byte after
//! the header.

use std::io;
use std::net::IpAddr;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The client that a proxy names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proxied {
    pub(super) address: IpAddr,
    /// Whether the client connected to the proxy by TLS; only version 2 says so.
    pub(super) is_https: bool,
}

/// The first bytes of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The bytes of version 2 before its addresses.
const FIXED_BYTES: usize = 16;
/// Maximum length of version 2. A certificate of the client may be in it.
const V2_BYTES_MAX: usize = 16 * 1024;
/// Maximum length of version 1.
const V1_BYTES_MAX: usize = 107;
/// The first bit of the field `client` of the TLV for TLS: the client connected by TLS.
const CLIENT_SSL: u8 = 1;

/// Reads the header. `None`: the proxy connects for itself, such as for a health check, or does not
/// name its client.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Proxied>> {
    let mut bytes = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut bytes).await?;
    if bytes == SIGNATURE {
        bytes.resize(FIXED_BYTES, 0);
        stream.read_exact(bytes.get_mut(SIGNATURE.len()..).unwrap_or_default()).await?;
        let length = match bytes.last_chunk() {
            Some(length) => usize::from(u16::from_be_bytes(*length)),
            None => 0,
        };
        if length > V2_BYTES_MAX {
            return Err(invalid("its header of the PROXY protocol is too long"));
        }
        bytes.resize(FIXED_BYTES + length, 0);
        stream.read_exact(bytes.get_mut(FIXED_BYTES..).unwrap_or_default()).await?;
        return version_2(&bytes);
    }
    while !bytes.ends_with(b"\n") {
        if bytes.len() >= V1_BYTES_MAX || !bytes.starts_with(b"PROXY ") {
            return Err(invalid("it does not begin with a header of the PROXY protocol"));
        }
        bytes.push(stream.read_u8().await?);
    }
    version_1(&bytes)
}

fn version_1(bytes: &[u8]) -> io::Result<Option<Proxied>> {
    let header = v1::Header::try_from(bytes).map_err(invalid)?;
    let address = match header.addresses {
        v1::Addresses::Tcp4(ip) => IpAddr::V4(ip.source_address),
        v1::Addresses::Tcp6(ip) => IpAddr::V6(ip.source_address),
        v1::Addresses::Unknown => return Ok(None),
    };
    Ok(Some(Proxied { address: address.to_canonical(), is_https: false }))
}

fn version_2(bytes: &[u8]) -> io::Result<Option<Proxied>> {
    let header = v2::Header::try_from(bytes).map_err(invalid)?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    let address = match header.addresses {
        v2::Addresses::IPv4(ip) => IpAddr::V4(ip.source_address),
        v2::Addresses::IPv6(ip) => IpAddr::V6(ip.source_address),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => return Ok(None),
    };
    let mut values = header.tlvs().filter_map(Result::ok);
    let is_https = values.any(|value| {
        value.kind == u8::from(v2::Type::SSL)
            && value.value.first().is_some_and(|client| client & CLIENT_SSL != 0)
    });
    Ok(Some(Proxied { address: address.to_canonical(), is_https }))
}

fn invalid(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, and how many bytes are left.
    async fn outcome(mut bytes: &[u8]) -> (Result<Option<(String, bool)>, ()>, usize) {
        let read = read(&mut bytes).await.map_err(|_| ());
        let shown = read.map(|it| it.map(|it| (it.address.to_string(), it.is_https)));
        (shown, bytes.len())
    }

    fn version_2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x20 | command, family], &length, payload, b"GET"].concat()
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_nothing_after_them_is_read() {
        let client = |address: &str, is_https| Ok(Some((address.to_owned(), is_https)));
        let v1 = |line: &str| format!("{line}\r\nGET").into_bytes();
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0, 1, 0, 2];
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0; 4]].concat();
        let by_tls = [&v4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        let not_by_tls = [&v4[..], &[0x20, 0, 5, 0, 0, 0, 0, 0]].concat();
        for (bytes, expected) in [
            (v1("PROXY TCP4 203.0.113.9 10.0.0.1 1 2"), client("203.0.113.9", false)),
            (v1("PROXY TCP6 2001:db8::7 ::1 1 2"), client("2001:db8::7", false)),
            (v1("PROXY UNKNOWN"), Ok(None)),
            (version_2(1, 0x11, &v4), client("203.0.113.9", false)),
            (version_2(1, 0x21, &v6), client("2001:db8::7", false)),
            (version_2(1, 0x11, &by_tls), client("203.0.113.9", true)),
            (version_2(1, 0x11, &not_by_tls), client("203.0.113.9", false)),
            (version_2(0, 0, &[]), Ok(None)),
        ] {
            assert_eq!(outcome(&bytes).await, (expected, 3), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn other_beginnings_are_refused_soon() {
        for bytes in [
            &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
            b"PROXY TCP4 203.0.113.9\r\n",
            b"PROXY TCP4 a b c d\r\n",
            b"PROXY",
            &[b"PROXY ".as_slice(), &[b'x'; 9_999]].concat(),
            &version_2(1, 0x11, &[1, 2])[..],
            &[SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
            &[SIGNATURE, &[0x11, 0x11, 0, 0]].concat(),
        ] {
            assert!(outcome(bytes).await.0.is_err(), "{bytes:?}");
        }
    }
}
