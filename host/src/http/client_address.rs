//! Describes the client that sent a request, and reads the address that a trusted proxy names in a
//! header.
//!
//! The caller must check that a trusted proxy sent the headers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};

use crate::domain::Network;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request extension that describes the client of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestClient {
    pub(super) address: IpAddr,
    /// Whether the client used TLS, to this server or to a trusted proxy. If the proxy does not
    /// report this: whether the proxy used TLS to this server.
    pub(super) is_https: bool,
    /// Whether a trusted proxy sent a header of the PROXY protocol or named the client in an HTTP
    /// header.
    pub(super) is_forwarded: bool,
    pub(super) header_sender: HeaderSender,
}

/// Who sent the headers of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderSender {
    /// The client itself, or a proxy that is not trusted or does not name its client in a header.
    Client,
    /// A trusted proxy that names the client in a header, and is not a [`Self::LocalProxy`].
    Proxy,
    /// A program that is connected through a Unix socket, sent no header of the PROXY protocol, and
    /// names the client in a header.
    LocalProxy,
}

/// `X-Forwarded-For` and `Forwarded` name different clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "X-Forwarded-For and Forwarded name different clients: the reverse proxy must set one of them \
     and remove the other one from the requests of its clients"
)]
pub(super) struct ContradictoryHeaders;

/// The address that is used for a client whose address is not known. No client has this address, so
/// a list of allowed addresses refuses it, unless a network in the list contains `::`.
pub(super) const UNKNOWN_CLIENT: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

impl RequestClient {
    pub(super) const UNKNOWN: Self = Self {
        address: UNKNOWN_CLIENT,
        is_https: false,
        is_forwarded: false,
        header_sender: HeaderSender::Client,
    };
}

/// The client of a request. For a request that did not come from a listener, it is
/// [`RequestClient::UNKNOWN`].
pub(super) fn request_client_of(request: &Request) -> RequestClient {
    request.extensions().get().copied().unwrap_or(RequestClient::UNKNOWN)
}

pub(super) fn client_of(request: &Request) -> IpAddr {
    request_client_of(request).address
}

/// Whether the client of a trusted proxy used TLS. The proxy reports the scheme in the entry of
/// `Forwarded` that names the client, or in `X-Forwarded-Proto`.
pub(super) fn forwarded_https(headers: &HeaderMap, trusted: &[Network]) -> Option<bool> {
    let entry = client_entry(&joined_values(headers, &header::FORWARDED), trusted, for_parameter);
    let from_entry = entry.as_deref().and_then(|entry| forwarded_parameter(entry, "proto"));
    let from_proto_header = || {
        let list = joined_values(headers, &X_FORWARDED_PROTO);
        list.rsplit(',').map(str::trim).find(|scheme| !scheme.is_empty()).map(str::to_owned)
    };
    let scheme = from_entry.map(str::to_owned).or_else(from_proto_header)?;
    Some(scheme.trim_matches('"').eq_ignore_ascii_case("https"))
}

/// The address by which limits count a client. For IPv6, it is the /64 network of the address,
/// because one subscriber usually has a whole /64 network.
pub(super) fn limit_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The client whose request a trusted proxy forwards, as `X-Forwarded-For` or `Forwarded` names it.
/// It is the right-most entry of the header that is not the address of a trusted proxy; if there is
/// none, the left-most entry. If that entry is not an address, the client is [`UNKNOWN_CLIENT`].
/// Returns `None` if neither header has an entry.
///
/// # Errors
/// `X-Forwarded-For` and `Forwarded` both exist, and name different clients.
pub(super) fn forwarded_client(
    headers: &HeaderMap,
    trusted: &[Network],
) -> Result<Option<IpAddr>, ContradictoryHeaders> {
    let client = |name, address_of: fn(&str) -> &str| {
        let entry = client_entry(&joined_values(headers, name), trusted, address_of)?;
        Some(parse_address(address_of(&entry)))
    };
    let in_x_forwarded_for = client(&X_FORWARDED_FOR, |entry| entry);
    let in_forwarded = client(&header::FORWARDED, for_parameter);
    match (in_x_forwarded_for, in_forwarded) {
        (None, None) => Ok(None),
        (Some(one), Some(other)) if one != other => Err(ContradictoryHeaders),
        (Some(one), _) | (None, Some(one)) => Ok(Some(one.unwrap_or(UNKNOWN_CLIENT))),
    }
}

fn joined_values(headers: &HeaderMap, name: &HeaderName) -> String {
    // The proxy appends its entry at the end. This entry can be used even if the client sent other
    // bytes before it that are not UTF-8.
    let lines = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    lines.collect::<Vec<_>>().join(",")
}

/// The right-most entry of a list that is not the address of a trusted proxy; if there is none, the
/// left-most entry. `address_of` selects the part of an entry that contains the address.
fn client_entry(
    list: &str,
    trusted: &[Network],
    address_of: impl Fn(&str) -> &str,
) -> Option<String> {
    let mut last = None;
    for entry in list.rsplit(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        last = Some(entry);
        let address = parse_address(address_of(entry));
        if !address.is_some_and(|address| trusted.iter().any(|network| network.contains(address))) {
            break;
        }
    }
    last.map(str::to_owned)
}

/// The value of a parameter in an entry of the header `Forwarded` (RFC 7239).
fn forwarded_parameter<'e>(entry: &'e str, name: &str) -> Option<&'e str> {
    let pairs = entry.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut matching = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    matching.next().map(|(_, value)| value.trim())
}

fn for_parameter(entry: &str) -> &str {
    forwarded_parameter(entry, "for").unwrap_or_default()
}

/// Parses an address with or without a port, quotes or brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let without_brackets =
        text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    without_brackets.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client_text(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let trusted: Vec<Network> =
            ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).into();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let client = forwarded_client(&map, &trusted);
        client.map_or(Some("contradiction".to_owned()), |client| client.map(|ip| ip.to_string()))
    }

    #[test]
    fn the_right_most_address_that_is_not_a_proxy_is_the_client() {
        let list = "x-forwarded-for";
        for (headers, client) in [
            (vec![], None),
            (vec![(list, "203.0.113.9")], Some("203.0.113.9")),
            (vec![(list, "1.2.3.4, 203.0.113.9, 10.0.0.7")], Some("203.0.113.9")),
            (vec![(list, "1.2.3.4"), (list, "203.0.113.9:443")], Some("203.0.113.9")),
            (vec![(list, "nonsense, 203.0.113.9")], Some("203.0.113.9")),
            (vec![(list, "203.0.113.9, nonsense")], Some("::")),
            (vec![(list, "10.0.0.9, 10.0.0.8")], Some("10.0.0.9")),
            (vec![(list, "::ffff:203.0.113.9")], Some("203.0.113.9")),
            (
                vec![("forwarded", "for=1.2.3.4, FOR=\"[2001:db8::1]:80\";by=x, for=10.0.0.9")],
                Some("2001:db8::1"),
            ),
            (vec![("forwarded", "for=_hidden")], Some("::")),
            (vec![(list, "1.1.1.1"), ("forwarded", "for=2.2.2.2")], Some("contradiction")),
            (vec![(list, "1.1.1.1"), ("forwarded", "for=_hidden")], Some("contradiction")),
            (vec![(list, "1.1.1.1"), ("forwarded", "proto=https")], Some("contradiction")),
            (vec![(list, "1.1.1.1"), ("forwarded", "for=1.1.1.1")], Some("1.1.1.1")),
        ] {
            assert_eq!(client_text(&headers).as_deref(), client, "{headers:?}");
        }
    }

    #[test]
    fn the_proxy_that_names_the_client_also_reports_whether_the_client_used_tls() {
        let (forwarded, proto) = ("forwarded", "x-forwarded-proto");
        for (headers, expected) in [
            (vec![], None),
            (vec![(proto, "https")], Some(true)),
            (vec![(proto, "HTTPS")], Some(true)),
            (vec![(proto, "https, http")], Some(false)),
            (vec![(forwarded, "for=1.1.1.1;proto=https, for=2.2.2.2;proto=http")], Some(false)),
            (vec![(forwarded, "for=2.2.2.2;Proto=\"https\", for=10.0.0.9;proto=http")], Some(true)),
            (vec![(forwarded, "for=2.2.2.2"), (proto, "https")], Some(true)),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            assert_eq!(forwarded_https(&map, &trusted), expected, "{headers:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_do_not_hide_the_address_that_the_proxy_appended() {
        let mut map = HeaderMap::new();
        let line = HeaderValue::from_bytes(b"\xff, 203.0.113.9").unwrap();
        map.append("x-forwarded-for", line);
        let client = forwarded_client(&map, &[]);
        assert_eq!(client, Ok(Some(IpAddr::from([203, 0, 113, 9]))));
    }

    #[test]
    fn addresses_of_one_ipv6_subscriber_have_one_limit_key() {
        let limit_key = |text: &str| limit_key(text.parse().unwrap()).to_string();
        assert_eq!(limit_key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(limit_key("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
