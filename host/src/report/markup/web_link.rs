//! Checks and encodes the addresses that a report may link to. This module never sends a request to
//! an address.

use url::Url;

/// Maximum length of an address as the URL parser writes it, bytes. The percent-encoding that this
/// file adds is not counted.
const ADDRESS_BYTES_MAX: usize = 2_000;
/// Punctuation that is not markup inside the address of a link, in any of the supported markups.
const SAFE_PUNCTUATION: &[u8] = b"-._~:/?#@&=+%,;$";

/// Percent-encodes an address so that it is valid in each markup. Returns `None` if the address is
/// not valid, has another scheme than http, https or mailto, has an IPv6 host, or is too long.
pub(super) fn web_link(text: &str) -> Option<String> {
    let url = Url::parse(text.trim()).ok()?;
    let is_allowed_scheme = matches!(url.scheme(), "http" | "https" | "mailto");
    let is_ipv6 = url.host_str().is_some_and(|host| host.starts_with('['));
    if !is_allowed_scheme || is_ipv6 || url.as_str().len() > ADDRESS_BYTES_MAX {
        return None;
    }
    let mut link = String::new();
    for byte in url.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || SAFE_PUNCTUATION.contains(&byte) {
            link.push(char::from(byte));
        } else {
            link.push_str(&format!("%{byte:02X}"));
        }
    }
    // A tracker does not read punctuation at the end of an address as part of the link.
    if let Some(last) = link.pop() {
        match last {
            '.' | ',' | ';' | ':' | '?' => link.push_str(&format!("%{:02X}", u32::from(last))),
            _ => link.push(last),
        }
    }
    Some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_are_links_and_their_markup_is_encoded() {
        for (text, link) in [
            (" https://a.example/x?y=1#z ", Some("https://a.example/x?y=1#z")),
            ("https://a.example/a|b]{c}\"d", Some("https://a.example/a%7Cb%5D%7Bc%7D%22d")),
            ("mailto:a@b.example", Some("mailto:a@b.example")),
            ("HTTP://A.example/.", Some("http://a.example/")),
            ("https://a.example/x;", Some("https://a.example/x%3B")),
            ("javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("/relative", None),
            ("http://[::1]/", None),
        ] {
            assert_eq!(web_link(text).as_deref(), link, "{text}");
        }
    }
}
