//! Builds the address of a request. Appends a path to the address in a setting, and encodes the
//! query. Never decides whether the address is allowed.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::egress::{HttpError, URL_BYTES_MAX};

/// The characters that are percent-encoded in a query: all characters except the unreserved
/// characters of RFC 3986.
const ENCODED_CHARACTERS: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the address of a request, with its query. If `url` is a path, it is appended to the
/// address in the setting that `base` names. `base_addresses` are the settings of the connection
/// that contain addresses, by name.
pub(crate) fn build_request_address(
    url: &str,
    base: Option<&str>,
    query: &[(String, String)],
    base_addresses: &BTreeMap<String, String>,
) -> Result<String, HttpError> {
    let query_bytes: usize = query.iter().map(|(name, value)| name.len() + value.len()).sum();
    if url.len() + query_bytes > URL_BYTES_MAX {
        return Err(HttpError::Invalid(format!(
            "the address and its query have more than {URL_BYTES_MAX} bytes"
        )));
    }
    let address = if url.starts_with('/') {
        check_path(url)?;
        format!("{}{url}", base_address(base, base_addresses)?)
    } else {
        url.to_owned()
    };
    append_query(address, query)
}

/// Refuses a path that a server or a URL parser may interpret as another path.
fn check_path(url: &str) -> Result<(), HttpError> {
    let path = url.split('?').next().unwrap_or_default();
    let is_dot_segment = |segment: &str| {
        let decoded = segment.replace("%2e", ".").replace("%2E", ".");
        decoded == "." || decoded == ".."
    };
    let why = if path.split('/').any(is_dot_segment) {
        "has a segment `.` or `..`"
    } else if path.contains('\\') {
        "has a backslash; percent-encode it"
    } else if url.contains('#') {
        "has a fragment; percent-encode `#`"
    } else {
        return Ok(());
    };
    Err(HttpError::Invalid(format!("the path {url:?} {why}")))
}

/// Returns the address in the setting that `base` names, without its query, its fragment and the
/// slashes at its end. If only one setting is an address, `base` may be `None`.
fn base_address(
    base: Option<&str>,
    base_addresses: &BTreeMap<String, String>,
) -> Result<String, HttpError> {
    let settings =
        || match base_addresses.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>() {
            names if names.is_empty() => "no setting of this connection is an address".to_owned(),
            names => format!("the settings that are addresses are: {}", names.join(", ")),
        };
    let address = match base {
        Some(name) => base_addresses
            .get(name)
            .ok_or_else(|| format!("`base` is {name:?}, but {}", settings())),
        None if base_addresses.len() == 1 => base_addresses.values().next().ok_or_else(String::new),
        None => Err(format!(
            "a path needs an address before it: name a setting in `base`, or use an absolute \
             address; {}",
            settings()
        )),
    };
    let address = address.map_err(HttpError::Invalid)?;
    let mut url = Url::parse(address)
        .map_err(|error| HttpError::Invalid(format!("{address:?} is not a valid URL: {error}")))?;
    url.set_query(None);
    url.set_fragment(None);
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn append_query(mut address: String, query: &[(String, String)]) -> Result<String, HttpError> {
    if query.is_empty() {
        return Ok(address);
    }
    if address.contains('#') {
        let why = "an address with a fragment cannot have `query`; remove the fragment";
        return Err(HttpError::Invalid(why.to_owned()));
    }
    let mut separator = match address.find('?') {
        None => "?",
        Some(_) if address.ends_with(['?', '&']) => "",
        Some(_) => "&",
    };
    for (name, value) in query {
        address += separator;
        address.extend(utf8_percent_encode(name, &ENCODED_CHARACTERS));
        address.push('=');
        address.extend(utf8_percent_encode(value, &ENCODED_CHARACTERS));
        separator = "&";
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base_addresses(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned())).collect()
    }

    /// Returns the address for a path, if the only setting with an address has a path, a query and
    /// a fragment.
    fn address_of_path(path: &str) -> Result<String, HttpError> {
        build_request_address(
            path,
            None,
            &[],
            &base_addresses(&[("url", "https://host/redmine/?a=b#c")]),
        )
    }

    #[test]
    fn a_path_is_appended_to_the_path_in_the_setting() {
        assert_eq!(address_of_path("/issues.json").unwrap(), "https://host/redmine/issues.json");
        assert_eq!(address_of_path("/a%2Fb/...").unwrap(), "https://host/redmine/a%2Fb/...");
        assert_eq!(address_of_path("/?x=../..").unwrap(), "https://host/redmine/?x=../..");
        assert_eq!(address_of_path("//other/x").unwrap(), "https://host/redmine//other/x");
    }

    #[test]
    fn a_path_that_could_leave_the_path_in_the_setting_is_refused() {
        for path in ["/..", "/a/../b", "/.", "/%2e%2E/x", "/.%2e", "/a/%2e", "/a\\..\\b", "/a#b"] {
            assert!(matches!(address_of_path(path), Err(HttpError::Invalid(_))), "{path}");
        }
    }

    #[test]
    fn the_base_must_be_named_only_if_several_settings_are_addresses() {
        let two = base_addresses(&[("api", "https://api.host/v1"), ("url", "https://host")]);
        let address_at = |base| build_request_address("/x", base, &[], &two);
        assert_eq!(address_at(Some("api")).unwrap(), "https://api.host/v1/x");
        let missing = address_at(None).unwrap_err();
        let unknown = address_at(Some("web")).unwrap_err();
        assert!(missing.to_string().contains("`api`, `url`"), "{missing}");
        assert!(unknown.to_string().contains("\"web\""), "{unknown}");
    }

    #[test]
    fn a_query_is_encoded_and_appended() {
        let address_with_query = |url: &str, value: &str| {
            let query = [("k 1".to_owned(), value.to_owned()), ("b".to_owned(), String::new())];
            build_request_address(url, None, &query, &BTreeMap::new())
        };
        let sent = address_with_query("https://host/x", "a b&c=d/ü~").unwrap();
        assert_eq!(sent, "https://host/x?k%201=a%20b%26c%3Dd%2F%C3%BC~&b=");
        assert_eq!(
            address_with_query("https://host/?x=y", "1").unwrap(),
            "https://host/?x=y&k%201=1&b="
        );
        assert_eq!(address_with_query("https://host/?", "1").unwrap(), "https://host/?k%201=1&b=");
        assert!(address_with_query("https://host/#x", "1").is_err());
        assert!(address_with_query("https://host/", &"x".repeat(9_000)).is_err());
    }
}
