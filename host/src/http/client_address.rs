//! The address of the client that sent a request: the peer's own, or the one that a trusted proxy names.
//!
//! Never believes a header of anybody else.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};

use crate::domain::Network;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// An extension of a request: who sent it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(pub(super) IpAddr);

/// Who sent a request; unspecified where no listener received it.
pub(super) fn client_of(request: &Request) -> IpAddr {
    let known = request.extensions().get::<ClientAddress>();
    known.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |known| known.0)
}

/// Whose share an address counts for: one subscriber has a whole /64 of IPv6.
pub(super) fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The client that a trusted proxy at `peer` forwards for: the right-most address that is not a proxy. `None`
/// without such a header. Where the two headers differ, one of them passed the proxy unread, and the client
/// counts as the proxy.
pub(super) fn forwarded_client(
    headers: &HeaderMap,
    peer: IpAddr,
    trusted: &[Network],
) -> Option<IpAddr> {
    let by_list = client(texts(headers, &X_FORWARDED_FOR), trusted, |entry| entry);
    let by_pairs = client(texts(headers, &header::FORWARDED), trusted, |entry| {
        let pairs = entry.split(';').filter_map(|pair| pair.trim().split_once('='));
        let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
        named.next().map_or("", |(_, value)| value)
    });
    match (by_list, by_pairs) {
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => Some(one.unwrap_or(peer)),
        (Some(one), Some(other)) => Some(one.filter(|_| one == other).unwrap_or(peer)),
    }
}

fn texts(headers: &HeaderMap, name: &HeaderName) -> String {
    // A line with other bytes still ends in what the proxy appended.
    let lines = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    lines.collect::<Vec<_>>().join(",")
}

/// `None` without entries; `Some(None)` if the right-most entry that is not a proxy has no address.
fn client(
    list: String,
    trusted: &[Network],
    address_of: impl Fn(&str) -> &str,
) -> Option<Option<IpAddr>> {
    let mut last = None;
    for entry in list.rsplit(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let address = parse(address_of(entry));
        last = Some(address);
        if !address.is_some_and(|it| trusted.iter().any(|network| network.contains(it))) {
            break;
        }
    }
    last
}

/// An address as proxies write it: with or without a port, quotes and brackets.
fn parse(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seen(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let trusted: Vec<Network> =
            ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).into();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let client = forwarded_client(&map, "10.0.0.1".parse().unwrap(), &trusted);
        client.map(|address| address.to_string())
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_client() {
        let list = "x-forwarded-for";
        for (headers, client) in [
            (vec![], None),
            (vec![(list, "203.0.113.9")], Some("203.0.113.9")),
            (vec![(list, "1.2.3.4, 203.0.113.9, 10.0.0.7")], Some("203.0.113.9")),
            (vec![(list, "1.2.3.4"), (list, "203.0.113.9:443")], Some("203.0.113.9")),
            (vec![(list, "nonsense, 203.0.113.9")], Some("203.0.113.9")),
            (vec![(list, "203.0.113.9, nonsense")], Some("10.0.0.1")),
            (vec![(list, "10.0.0.9, 10.0.0.8")], Some("10.0.0.9")),
            (vec![(list, "::ffff:203.0.113.9")], Some("203.0.113.9")),
            (
                vec![("forwarded", "for=1.2.3.4, FOR=\"[2001:db8::1]:80\";by=x, for=10.0.0.9")],
                Some("2001:db8::1"),
            ),
            (vec![("forwarded", "for=_hidden")], Some("10.0.0.1")),
            (vec![(list, "1.1.1.1"), ("forwarded", "for=2.2.2.2")], Some("10.0.0.1")),
            (vec![(list, "1.1.1.1"), ("forwarded", "for=1.1.1.1")], Some("1.1.1.1")),
        ] {
            assert_eq!(seen(&headers).as_deref(), client, "{headers:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hide_what_the_proxy_appended() {
        let mut map = HeaderMap::new();
        let line = HeaderValue::from_bytes(b"\xff, 203.0.113.9").unwrap();
        map.append("x-forwarded-for", line);
        let client = forwarded_client(&map, IpAddr::from([10, 0, 0, 1]), &[]);
        assert_eq!(client, Some(IpAddr::from([203, 0, 113, 9])));
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_holder() {
        let holder = |text: &str| holder(text.parse().unwrap()).to_string();
        assert_eq!(holder("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(holder("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
