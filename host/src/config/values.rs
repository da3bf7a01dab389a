//! Reads the values of configuration keys. Each function checks one kind of value, and its error
//! says what is allowed.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::Value;

use crate::domain::{CompileFor, Network, PluginsSource, StringEnum};

use super::{DefectIdKind, InvalidListenAddress, ListenAddress, database_url};

/// An error of a key's value. The caller adds the file or variable.
pub(super) type KeyError = String;

pub(super) fn number<T: TryFrom<u64>>(
    key: &str,
    value: &Value,
    allowed: RangeInclusive<u64>,
) -> Result<T, KeyError> {
    value
        .as_integer()
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| allowed.contains(number))
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| {
            format!(
                "`{key}` must be a whole number from {} to {}, not {value}",
                allowed.start(),
                allowed.end()
            )
        })
}

pub(super) fn text<'a>(key: &str, value: &'a Value) -> Result<&'a str, KeyError> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| format!("`{key}` must be a non-empty text"))
}

pub(super) fn texts(key: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let items = value.as_array().ok_or_else(|| format!("`{key}` must be a list of texts"))?;
    items.iter().map(|item| text(key, item).map(str::to_owned)).collect()
}

pub(super) fn address(key: &str, value: &Value) -> Result<ListenAddress, KeyError> {
    let parsed = text(key, value)?.parse();
    parsed.map_err(|error: InvalidListenAddress| format!("`{key}` = {error}"))
}

/// A boolean, or its text in a variable of the environment.
pub(super) fn switch(key: &str, value: &Value) -> Result<bool, KeyError> {
    match value.as_bool().or_else(|| value.as_str()?.trim().parse().ok()) {
        Some(on) => Ok(on),
        None => Err(format!("`{key}` must be true or false, not {value}")),
    }
}

pub(super) fn networks(key: &str, value: &Value) -> Result<Vec<Network>, KeyError> {
    let networks = texts(key, value)?;
    networks.iter().map(|text| text.parse().map_err(|why| format!("`{key}`: {why}"))).collect()
}

pub(super) fn header(key: &str, value: &Value) -> Result<String, KeyError> {
    let name = text(key, value)?;
    match http::HeaderName::try_from(name) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => {
            Err(format!("`{key}` = {name:?} is not the name of a header, like X-Remote-User"))
        }
    }
}

pub(super) fn hosts(key: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let hosts = texts(key, value)?;
    let is_invalid = |text: &&String| url::Host::parse(text).is_err();
    match hosts.iter().find(is_invalid) {
        Some(odd) => Err(format!("`{key}`: {odd:?} must be a host name, without scheme and port")),
        None => Ok(hosts),
    }
}

pub(super) fn path(key: &str, value: &Value) -> Result<PathBuf, KeyError> {
    text(key, value).map(PathBuf::from)
}

/// Where a secret is, so that the configuration contains none.
pub(super) fn reference(key: &str, value: &Value) -> Result<String, KeyError> {
    let text = text(key, value)?;
    if text.starts_with("file:") || text.starts_with("env:") {
        return Ok(text.to_owned());
    }
    Err(format!("`{key}` must be file:/path or env:NAME, so that this file contains no secret"))
}

/// The address of a PostgreSQL database; "sqlite" is the file in the data folder.
pub(super) fn store(key: &str, value: &Value) -> Result<Option<url::Url>, KeyError> {
    match text(key, value)? {
        "sqlite" => Ok(None),
        address => database_url::parse(key, address).map(Some),
    }
}

pub(super) fn roots(key: &str, value: &Value) -> Result<Vec<PathBuf>, KeyError> {
    let roots: Vec<PathBuf> = texts(key, value)?.into_iter().map(PathBuf::from).collect();
    match roots.iter().find(|root| !root.is_absolute()) {
        Some(root) => Err(format!("`{key}`: {} must begin with /", root.display())),
        None => Ok(roots),
    }
}

pub(super) fn prefixes(key: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let prefixes = texts(key, value)?;
    let is_invalid = |text: &&String| !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match prefixes.iter().find(is_invalid) {
        Some(odd) => Err(format!("`{key}`: {odd:?} must be letters, digits and _")),
        None => Ok(prefixes),
    }
}

pub(super) fn webhook_paths(key: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let paths = texts(key, value)?;
    let is_invalid = |path: &&String| !path.starts_with('/') || path.contains(['?', '#', ' ']);
    match paths.iter().find(is_invalid) {
        Some(odd) => Err(format!("`{key}`: {odd:?} must be a path that begins with /")),
        None => Ok(paths),
    }
}

pub(super) fn defect_id(key: &str, value: &Value) -> Result<DefectIdKind, KeyError> {
    match text(key, value)? {
        "key" => Ok(DefectIdKind::Key),
        "uuid" => Ok(DefectIdKind::Uuid),
        other => Err(format!("`{key}` must be \"key\" or \"uuid\", not {other:?}")),
    }
}

pub(super) fn compile_for(value: &Value) -> Result<CompileFor, KeyError> {
    word("compile_for", value, "\"this-cpu\" or \"any-cpu\"")
}

pub(super) fn plugins_source(value: &Value) -> Result<PluginsSource, KeyError> {
    word("plugins_source", value, "\"folder\" or \"store\"")
}

fn word<T: StringEnum>(key: &str, value: &Value, words: &str) -> Result<T, KeyError> {
    let word = text(key, value)?;
    T::parse(word).ok_or_else(|| format!("`{key}` must be {words}, not {word:?}"))
}

pub(super) fn public_url(value: &Value) -> Result<url::Url, KeyError> {
    let text = text("public_url", value)?;
    let is_valid = |url: &url::Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.path().bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b))
    };
    text.parse().ok().filter(is_valid).ok_or_else(|| {
        "`public_url` must be http:// or https:// with a host and at most a path prefix (letters, \
         digits, - . _ ~), without user, query or fragment"
            .to_owned()
    })
}
