//! Reads the header of the PROXY protocol, version 1 or 2. With this header, a proxy names the
//! client whose connection it forwards.
//!
//! Source: <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>. This module never reads a
//! byte after the header.

use std::io;
use std::net::IpAddr;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The client that a proxy names in a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProxiedClient {
    pub(super) address: IpAddr,
    /// Whether the client connected to the proxy by TLS; false for version 1, which does not
    /// contain this information.
    pub(super) is_https: bool,
}

/// The first bytes of a version 2 header.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Number of bytes of a version 2 header before the addresses.
const V2_FIXED_BYTES: usize = 16;
/// Maximum number of bytes of a version 2 header after the fixed part. These bytes may contain a
/// client certificate.
const V2_BYTES_MAX: usize = 16 * 1024;
/// Maximum length of a version 1 header, bytes.
const V1_BYTES_MAX: usize = 107;
/// The lowest bit of the field `client` in the extension for TLS. It is set if the client connected
/// by TLS.
const CLIENT_SSL_BIT: u8 = 1;

/// Reads the header of a connection. Returns `None` if the proxy does not name the IP address of a
/// client, for example because the proxy itself sends a health check.
pub(super) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<ProxiedClient>> {
    let mut bytes = vec![0; V2_SIGNATURE.len()];
    stream.read_exact(&mut bytes).await?;
    if bytes == V2_SIGNATURE {
        bytes.resize(V2_FIXED_BYTES, 0);
        stream.read_exact(bytes.get_mut(V2_SIGNATURE.len()..).unwrap_or_default()).await?;
        let length = match bytes.last_chunk() {
            Some(length) => usize::from(u16::from_be_bytes(*length)),
            None => 0,
        };
        if length > V2_BYTES_MAX {
            return Err(invalid_data("the header of the PROXY protocol is too long"));
        }
        bytes.resize(V2_FIXED_BYTES + length, 0);
        stream.read_exact(bytes.get_mut(V2_FIXED_BYTES..).unwrap_or_default()).await?;
        return parse_version_2(&bytes);
    }
    while !bytes.ends_with(b"\n") {
        if bytes.len() >= V1_BYTES_MAX || !bytes.starts_with(b"PROXY ") {
            return Err(invalid_data(
                "the connection does not begin with a header of the PROXY protocol",
            ));
        }
        bytes.push(stream.read_u8().await?);
    }
    parse_version_1(&bytes)
}

fn parse_version_1(bytes: &[u8]) -> io::Result<Option<ProxiedClient>> {
    let header = v1::Header::try_from(bytes).map_err(invalid_data)?;
    let address = match header.addresses {
        v1::Addresses::Tcp4(ip) => IpAddr::V4(ip.source_address),
        v1::Addresses::Tcp6(ip) => IpAddr::V6(ip.source_address),
        v1::Addresses::Unknown => return Ok(None),
    };
    Ok(Some(ProxiedClient { address: address.to_canonical(), is_https: false }))
}

fn parse_version_2(bytes: &[u8]) -> io::Result<Option<ProxiedClient>> {
    let header = v2::Header::try_from(bytes).map_err(invalid_data)?;
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
            && value.value.first().is_some_and(|client| client & CLIENT_SSL_BIT != 0)
    });
    Ok(Some(ProxiedClient { address: address.to_canonical(), is_https }))
}

fn invalid_data(why: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the result of [`read_header`], and the number of bytes that it did not read.
    async fn read_and_count_rest(mut bytes: &[u8]) -> (Result<Option<(String, bool)>, ()>, usize) {
        let read = read_header(&mut bytes).await.map_err(|_| ());
        let client =
            read.map(|proxied| proxied.map(|client| (client.address.to_string(), client.is_https)));
        (client, bytes.len())
    }

    /// A version 2 header, followed by the bytes `GET`.
    fn version_2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[0x20 | command, family], &length, payload, b"GET"].concat()
    }

    #[tokio::test]
    async fn a_header_of_either_version_names_the_client_and_nothing_after_it_is_read() {
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
            assert_eq!(read_and_count_rest(&bytes).await, (expected, 3), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_without_a_valid_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
            b"PROXY TCP4 203.0.113.9\r\n",
            b"PROXY TCP4 a b c d\r\n",
            b"PROXY",
            &[b"PROXY ".as_slice(), &[b'x'; 9_999]].concat(),
            &version_2(1, 0x11, &[1, 2])[..],
            &[V2_SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
            &[V2_SIGNATURE, &[0x11, 0x11, 0, 0]].concat(),
        ] {
            assert!(read_and_count_rest(bytes).await.0.is_err(), "{bytes:?}");
        }
    }
}
