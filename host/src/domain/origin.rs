//! Origins in canonical form: scheme, host and port. Origins are compared as values, never as text.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

/// Scheme, host and port of a server. Two values are equal if their texts are different spellings
/// of the same origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Whether the scheme is https; otherwise it is http.
    https: bool,
    /// A lower-case name or an IP address.
    host: Host,
    /// The port, even if it is the default port of the scheme.
    port: u16,
}

/// A text that is not an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an origin: {why}")]
pub struct InvalidOrigin {
    /// The invalid text, without user and password.
    pub text: String,
    /// The reason why the text is not an origin, for people.
    pub why: &'static str,
}

impl Origin {
    /// Returns the origin of a parsed address.
    ///
    /// # Errors
    /// The scheme is not http or https, the host is missing, there is a user or password, or the
    /// host name ends in a dot.
    pub fn of(url: &Url) -> Result<Self, InvalidOrigin> {
        let refuse = |why| Err(InvalidOrigin { text: without_credentials(url.as_str()), why });
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return refuse("the scheme must be http or https"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("a URL with a user or password is not allowed");
        }
        let Some(host) = url.host() else { return refuse("the host is missing") };
        if matches!(host, Host::Domain(name) if name.ends_with('.')) {
            return refuse("the host name ends in a dot");
        }
        let Some(port) = url.port_or_known_default() else { return refuse("the port is missing") };
        Ok(Self { https, host: host.to_owned(), port })
    }

    /// Returns whether the scheme is https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Returns the host in canonical form: a lower-case name or an IP address.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the IP address of the host; `None` if the host is a name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self.host {
            Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
            Host::Domain(_) => None,
        }
    }

    /// Returns the port, even if it is the default port of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// Parses any URL of the origin; path, query and fragment are ignored.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let url = Url::parse(text).map_err(|_| InvalidOrigin {
            text: without_credentials(text),
            why: "write it like https://tracker.example or http://127.0.0.1:3000",
        })?;
        Self::of(&url)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = if self.https { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == default { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// Removes the part of a text that may be the user and password of a URL.
fn without_credentials(text: &str) -> String {
    let Some((before, after)) = text.rsplit_once('@') else { return text.to_owned() };
    let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
    format!("{scheme}{after}")
}

/// Whether a text is an absolute http or https URL, which a person can open in a browser.
#[must_use]
pub fn is_web_address(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_spellings_of_the_same_origin_are_equal() {
        for (a, b) in [
            ("HTTP://Tracker.Example:80/x?y", "http://tracker.example"),
            ("http://0x7f.1", "http://127.0.0.1/"),
            ("https://[::ffff:127.0.0.1]:443", "https://[::ffff:7f00:1]"),
        ] {
            assert_eq!(a.parse::<Origin>(), b.parse::<Origin>());
        }
        assert_ne!("http://a.example".parse::<Origin>(), "https://a.example".parse::<Origin>());
    }

    #[test]
    fn an_error_does_not_repeat_a_user_or_password() {
        for text in ["https://u:s3cret@a.example/", "https://u:s3cret@:x", "u:s3cret@a.example"] {
            let error = text.parse::<Origin>().unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
            assert!(error.contains(text.rsplit_once('@').unwrap().1), "{error}");
        }
    }

    #[test]
    fn texts_that_are_not_origins_are_refused() {
        for text in ["", "a.example", "ftp://a.example", "http://u@a.example", "http://a.example./"]
        {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
