//! Chooses the proxy for an origin by `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, mostly like curl.
//!
//! Unlike with curl, `HTTP_PROXY` may be in upper case, and a `NO_PROXY` entry may have `*.` or a
//! port. This module never connects to a proxy.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::HeaderValue;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::domain::Origin;

use super::basic_authorization;

/// A proxy that an environment variable names.
pub(crate) struct Proxy {
    pub(crate) origin: Origin,
    /// The `Proxy-Authorization` to send, if the proxy's URL has a user.
    pub(crate) authorization: Option<HeaderValue>,
    variable: &'static str,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.origin, self.variable)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable} is not the URL of an HTTP proxy ({why}); write it like http://proxy.example:3128 or \
     http://USER:PASSWORD@proxy.example:3128, with special characters of user and password \
     percent-encoded (# as %23)"
)]
pub(crate) struct InvalidProxy {
    variable: &'static str,
    why: &'static str,
}

/// The proxy for an origin, or the reason why it cannot be used; `None` if no proxy is used.
type ProxyChoice = Option<Result<Arc<Proxy>, InvalidProxy>>;

#[derive(Default)]
pub(crate) struct Proxies {
    http: ProxyChoice,
    https: ProxyChoice,
    exceptions: Vec<NoProxyEntry>,
}

impl Proxies {
    /// As with curl, the name in lower case has priority, and an empty variable counts as not set.
    /// `ALL_PROXY` is ignored, because many shells set it, and because the host cannot check the
    /// addresses of names that a proxy resolves.
    pub(crate) fn from_env() -> Self {
        let read = |names: [&str; 2]| {
            let values = names.iter().filter_map(|name| std::env::var(name).ok());
            values.map(|value| value.trim().to_owned()).find(|value| !value.is_empty())
        };
        if read(["all_proxy", "ALL_PROXY"]).is_some() {
            tracing::warn!(
                "ALL_PROXY is ignored: set HTTP_PROXY and HTTPS_PROXY to reach trackers through a proxy"
            );
        }
        let proxies = Self::new(
            &read(["http_proxy", "HTTP_PROXY"]).unwrap_or_default(),
            &read(["https_proxy", "HTTPS_PROXY"]).unwrap_or_default(),
            &read(["no_proxy", "NO_PROXY"]).unwrap_or_default(),
        );
        for error in [&proxies.http, &proxies.https]
            .into_iter()
            .flatten()
            .filter_map(|proxy| proxy.as_ref().err())
        {
            tracing::warn!("requests to trackers through this proxy will fail: {error}");
        }
        proxies
    }

    pub(crate) fn new(http: &str, https: &str, no_proxy: &str) -> Self {
        let entries = no_proxy.split(|c: char| c == ',' || c.is_whitespace());
        let entries = entries.filter(|entry| !entry.is_empty());
        let exceptions = entries.filter_map(|entry| {
            let exception = NoProxyEntry::parse(entry);
            if exception.is_none() {
                tracing::warn!(entry, "NO_PROXY has an invalid entry, which is ignored");
            }
            exception
        });
        Self {
            http: parse_proxy("HTTP_PROXY", http),
            https: parse_proxy("HTTPS_PROXY", https),
            exceptions: exceptions.collect(),
        }
    }

    /// `localhost`, 127.0.0.0/8 and ::1 are never reached through a proxy: for the proxy, they are
    /// the proxy's own machine.
    pub(crate) fn proxy_for(&self, origin: &Origin) -> ProxyChoice {
        let is_loopback = match origin.host() {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.is_loopback(),
        };
        if is_loopback || self.exceptions.iter().any(|exception| exception.matches(origin)) {
            return None;
        }
        if origin.is_https() { self.https.clone() } else { self.http.clone() }
    }
}

fn parse_proxy(variable: &'static str, text: &str) -> ProxyChoice {
    if text.is_empty() {
        return None;
    }
    let invalid = |why| InvalidProxy { variable, why };
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let parse = || {
        let mut url = Url::parse(&with_scheme).map_err(|_| invalid("it is not a valid URL"))?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (decoded(url.username()), url.password().map(decoded));
        let has_user = !user.is_empty() || password.is_some();
        // These changes fail only for a URL without a host.
        let _ = (url.set_username(""), url.set_password(None));
        let origin = Origin::of(&url).map_err(|error| invalid(error.why))?;
        let authorization = has_user
            .then(|| {
                HeaderValue::from_str(&basic_authorization(
                    Some(&user),
                    &password.unwrap_or_default(),
                ))
            })
            .transpose()
            .map_err(|_| invalid("its user or password has a character that cannot be sent"))?;
        let authorization = authorization.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Ok(Arc::new(Proxy { origin, authorization, variable }))
    };
    Some(parse())
}

#[derive(Debug, PartialEq, Eq)]
struct NoProxyEntry {
    hosts: NoProxyHosts,
    /// The port to which the entry applies; `None` means every port.
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum NoProxyHosts {
    All,
    Network(IpNet),
    /// The name itself and all its subdomains.
    Name(String),
}

impl NoProxyEntry {
    fn parse(entry: &str) -> Option<Self> {
        if let Some(hosts) = NoProxyHosts::parse(entry) {
            return Some(Self { hosts, port: None });
        }
        let (host, port) = entry.rsplit_once(':')?;
        Some(Self { hosts: NoProxyHosts::parse(host)?, port: Some(port.parse().ok()?) })
    }

    fn matches(&self, origin: &Origin) -> bool {
        if self.port.is_some_and(|port| port != origin.port()) {
            return false;
        }
        match (&self.hosts, origin.host()) {
            (NoProxyHosts::All, _) => true,
            (NoProxyHosts::Network(network), Host::Ipv4(ip)) => network.contains(&IpAddr::V4(*ip)),
            (NoProxyHosts::Network(network), Host::Ipv6(ip)) => {
                network.contains(&IpAddr::V6(*ip)) || network.contains(&ip.to_canonical())
            }
            (NoProxyHosts::Name(suffix), Host::Domain(name)) => {
                name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            _ => false,
        }
    }
}

impl NoProxyHosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let without_brackets =
            text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(network) = without_brackets.parse::<IpNet>() {
            return Some(Self::Network(network));
        }
        if let Ok(ip) = without_brackets.parse::<IpAddr>() {
            return Some(Self::Network(IpNet::from(ip)));
        }
        let name = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
        match Host::parse(name.strip_suffix('.').unwrap_or(name)).ok()? {
            Host::Domain(name) if !name.contains('*') => Some(Self::Name(name)),
            Host::Domain(_) => None,
            Host::Ipv4(ip) => Some(Self::Network(IpNet::from(IpAddr::V4(ip)))),
            Host::Ipv6(ip) => Some(Self::Network(IpNet::from(IpAddr::V6(ip)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_https_proxy(text: &str) -> Result<Arc<Proxy>, InvalidProxy> {
        parse_proxy("HTTPS_PROXY", text).unwrap()
    }

    #[test]
    fn no_proxy_is_parsed_as_by_curl_and_may_have_wildcards_ports_and_networks() {
        for (no_proxy, origin, is_excepted) in [
            ("tracker.example", "https://tracker.example", true),
            ("tracker.example", "https://a.tracker.example", true),
            ("tracker.example", "https://atracker.example", false),
            (".example", "https://tracker.example", true),
            (".tracker.example", "https://tracker.example", true),
            ("*.corp.example", "https://tracker.corp.example", true),
            ("*.corp.example", "https://corp.example", true),
            ("*.corp.example", "https://xcorp.example", false),
            ("TRACKER.example.", "https://tracker.example", true),
            ("m\u{fc}nchen.example", "https://xn--mnchen-3ya.example", true),
            ("tracker.example:8443", "https://tracker.example:8443", true),
            ("tracker.example:8443", "https://tracker.example", false),
            ("*.example:443", "https://tracker.example", true),
            ("10.0.0.0/8", "https://10.1.2.3", true),
            ("10.0.0.0/8", "https://11.1.2.3", false),
            ("10.0.0.0/8", "https://[::ffff:10.1.2.3]", true),
            ("10.1.2.3:8080", "http://10.1.2.3:8080", true),
            ("10.1.2.3:8080", "http://10.1.2.3", false),
            ("fd00::/8", "http://[fd12::1]", true),
            ("[fd12::1]:8080", "http://[fd12::1]:8080", true),
            ("fd12::1", "http://[fd12::1]", true),
            ("[fd12::1]", "http://[fd12::1]:8080", true),
            ("[fd00::/8]", "http://[fd12::1]:8080", true),
            ("a.example b.example\tc.example", "http://c.example", true),
            ("a.example ,, b.example", "http://b.example", true),
            ("*", "http://any.example", true),
            ("*x.example", "http://ax.example", false),
            ("", "http://any.example", false),
        ] {
            let proxies = Proxies::new("http://p:1", "http://p:1", no_proxy);
            let chosen = proxies.proxy_for(&origin.parse().unwrap());
            assert_eq!(chosen.is_none(), is_excepted, "NO_PROXY={no_proxy}: {origin}");
        }
    }

    #[test]
    fn a_proxy_may_have_a_user_and_a_password_with_any_character() {
        for (text, origin, credentials) in [
            ("http://proxy:3128", "http://proxy:3128", None),
            ("proxy:3128/", "http://proxy:3128", None),
            ("http://u:p@proxy:3128", "http://proxy:3128", Some("u:p")),
            ("http://u:p@ss@proxy", "http://proxy", Some("u:p@ss")),
            ("https://DOM%5Cu:a%23b%3A%2Fc@proxy", "https://proxy", Some("DOM\\u:a#b:/c")),
            ("http://u@proxy", "http://proxy", Some("u:")),
        ] {
            let proxy = parse_https_proxy(text).unwrap();
            assert_eq!(proxy.origin, origin.parse().unwrap(), "{text}");
            let expected = credentials
                .map(|text| format!("Basic {}", data_encoding::BASE64.encode(text.as_bytes())));
            let sent = proxy.authorization.as_ref().map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(sent, expected, "{text}");
            assert!(!proxy.to_string().contains('@'));
        }
    }

    #[test]
    fn an_invalid_proxy_url_is_an_error_and_is_never_ignored() {
        for text in [
            "socks5://u:s3cret@proxy",
            "http://u:s3#cret@proxy:1",
            "http://",
            "http://u:s3cret@a b",
        ] {
            let error = parse_https_proxy(text).err().unwrap().to_string();
            assert!(
                error.starts_with("HTTPS_PROXY is not the URL") && !error.contains("s3"),
                "{error}"
            );
        }
    }

    #[test]
    fn loopback_and_a_scheme_without_a_proxy_are_reached_directly() {
        let proxies = Proxies::new("", "http://p:1", "");
        for origin in
            ["https://localhost", "https://127.0.0.2", "https://[::1]", "http://a.example"]
        {
            assert!(proxies.proxy_for(&origin.parse().unwrap()).is_none(), "{origin}");
        }
    }
}
