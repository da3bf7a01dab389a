//! Refuses requests that another site makes a browser send: requests for another host name (DNS
//! rebinding), and changes from pages of another origin.
//!
//! Requests to `/hooks` are never checked, because they need no cookie.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::{Host, Url};

use crate::config::{Config, ListenAddress};

use super::AppState;
use super::problem::Problem;

/// The host names for which a server on a loopback address answers requests. Another site can make
/// its own host name resolve to the loopback address. Without this list, the pages of that site
/// would then have the same origin as this server.
#[derive(Debug)]
pub(super) struct AllowedHosts {
    /// `None` if the server does not listen on a loopback address: then all names are allowed.
    names: Option<Vec<String>>,
}

impl AllowedHosts {
    /// `address` is the address on which the server listens. It may differ from the configuration,
    /// because systemd can pass a socket.
    pub(super) fn new(config: &Config, address: &ListenAddress) -> Self {
        if !matches!(address, ListenAddress::Tcp(address) if address.ip().is_loopback()) {
            return Self { names: None };
        }
        let public = config.public_url.as_ref().and_then(Url::host_str).map(str::to_owned);
        let listed = config.allowed_hosts.iter().cloned();
        Self { names: Some(listed.chain(public).chain(["localhost".to_owned()]).collect()) }
    }

    fn allows(&self, authority: &str) -> bool {
        let Some(names) = &self.names else { return true };
        let host =
            match Url::parse(&format!("http://{authority}")).ok().as_ref().and_then(Url::host) {
                Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
                // DNS rebinding works only with a host name, so a loopback address is always safe.
                Some(Host::Ipv4(address)) if IpAddr::V4(address).is_loopback() => return true,
                Some(Host::Ipv6(address)) if IpAddr::V6(address).is_loopback() => return true,
                Some(other) => other.to_string(),
                None => return false,
            };
        names.iter().any(|name| name.eq_ignore_ascii_case(&host))
    }
}

/// A layer that refuses a request for a host name that is not allowed. It accepts a request without
/// a host name, because such a request cannot come from a browser: browsers always send a host
/// name.
pub(super) async fn check_host(
    State(app): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    match authority(request.headers(), request.uri()) {
        Some(authority) if !app.allowed_hosts.allows(authority) => {
            Problem::host_not_allowed(authority).into_response()
        }
        _ => next.run(request).await,
    }
}

pub(super) fn authority<'r>(headers: &'r HeaderMap, uri: &'r Uri) -> Option<&'r str> {
    // HTTP/2 sends the authority in the URI, HTTP/1.1 in the header `Host`.
    let in_uri = uri.authority().map(|authority| authority.as_str());
    in_uri.or_else(|| headers.get(HOST).and_then(|value| value.to_str().ok()))
}

/// Refuses a change that a page of another origin has made a browser send.
pub(super) fn check_origin(config: &Config, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let value = |name: &str| headers.get(name).map(|text| text.to_str().unwrap_or_default());
    let is_same_origin = match (value("sec-fetch-site"), value(ORIGIN.as_str())) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let public = config.public_url.as_ref().map(|url| url.origin().ascii_serialization());
            let host = authority(headers, uri);
            let origin_authority = origin.split_once("://").map(|(_, authority)| authority);
            public.as_deref() == Some(origin) || host.is_some() && origin_authority == host
        }
        // The client sent neither header, so only the CSRF token can show which page sent the
        // change.
        (None, None) => true,
    };
    if is_same_origin { Ok(()) } else { Err(Problem::cross_site_request()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(config: &Config, listening: &str, authority: &str) -> bool {
        AllowedHosts::new(config, &listening.parse().unwrap()).allows(authority)
    }

    #[test]
    fn a_server_on_a_loopback_address_answers_only_for_allowed_host_names() {
        let config = Config {
            public_url: Some("https://jackfield.example.com/hub".parse().unwrap()),
            allowed_hosts: vec!["Intern.example.com".to_owned()],
            ..Config::default()
        };
        for good in [
            "localhost:8080",
            "LOCALHOST",
            "localhost.",
            "127.0.0.1:8080",
            "127.0.0.2",
            "[::1]:8080",
            "jackfield.example.com",
            "intern.example.com:443",
        ] {
            assert!(is_allowed(&config, "127.0.0.1:80", good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "",
            "a b",
        ] {
            assert!(!is_allowed(&config, "127.0.0.1:80", bad), "{bad}");
        }
    }

    #[test]
    fn a_server_on_any_other_address_answers_for_every_host_name() {
        let config = Config::default();
        assert!(!is_allowed(&config, "127.0.0.1:8080", "any.example"));
        for listening in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "unix:/run/x.sock"] {
            assert!(is_allowed(&config, listening, "any.example"), "{listening}");
        }
    }

    #[test]
    fn a_change_from_a_page_of_another_origin_is_refused() {
        let config = Config {
            public_url: Some("https://jackfield.example.com".parse().unwrap()),
            ..Config::default()
        };
        let check = |headers: &[(&'static str, &'static str)]| {
            let all = [&[("host", "127.0.0.1:8080")], headers].concat();
            let pairs = all.into_iter().map(|(name, value)| {
                (name.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap())
            });
            check_origin(&config, &HeaderMap::from_iter(pairs), &Uri::from_static("/x")).is_ok()
        };
        assert!(check(&[]));
        assert!(check(&[("origin", "http://127.0.0.1:8080")]));
        assert!(check(&[("origin", "https://jackfield.example.com")]));
        assert!(check(&[("sec-fetch-site", "same-origin"), ("origin", "https://x.example")]));
        for bad in [
            [("origin", "http://evil.example"), ("x-y", "z")],
            [("origin", "null"), ("x-y", "z")],
            [("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:8080")],
            [("sec-fetch-site", "same-site"), ("x-y", "z")],
        ] {
            assert!(!check(&bad), "{bad:?}");
        }
    }
}
