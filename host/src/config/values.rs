//! Reads the values of configuration keys. Each error describes what is allowed. Never opens a
//! file.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::Value;

use crate::domain::{CompileFor, Network, PluginsSource, StringEnum};

use super::{DefectIdKind, InvalidListenAddress, ListenAddress, database_url};

/// The description of an error in the value of a key, without the name of the file or the variable.
pub(super) type KeyError = String;

/// The error contains the allowed range.
pub(super) fn read_number<T: TryFrom<u64>>(
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

pub(super) fn read_text<'a>(key: &str, value: &'a Value) -> Result<&'a str, KeyError> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| format!("`{key}` must be a text that is not empty"))
}

pub(super) fn read_texts(key: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let items = value.as_array().ok_or_else(|| format!("`{key}` must be a list of texts"))?;
    items.iter().map(|item| read_text(key, item).map(str::to_owned)).collect()
}

pub(super) fn read_address(key: &str, value: &Value) -> Result<ListenAddress, KeyError> {
    let parsed = read_text(key, value)?.parse();
    parsed.map_err(|error: InvalidListenAddress| format!("`{key}` = {error}"))
}

/// The value of an environment variable is a text.
pub(super) fn read_boolean(key: &str, value: &Value) -> Result<bool, KeyError> {
    match value.as_bool().or_else(|| value.as_str()?.trim().parse().ok()) {
        Some(value) => Ok(value),
        None => Err(format!("`{key}` must be true or false, not {value}")),
    }
}

pub(super) fn read_networks(key: &str, value: &Value) -> Result<Vec<Network>, KeyError> {
    let networks = read_texts(key, value)?;
    networks.iter().map(|text| text.parse().map_err(|why| format!("`{key}`: {why}"))).collect()
}

pub(super) fn read_header_name(key: &str, value: &Value) -> Result<String, KeyError> {
    let name = read_text(key, value)?;
    match http::HeaderName::try_from(name) {
        Ok(name) => Ok(name.as_str().to_owned()),
        Err(_) => {
            Err(format!("`{key}` = {name:?} is not the name of a header, like X-Remote-User"))
        }
    }
}

pub(super) fn read_host_names(key: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let hosts = read_texts(key, value)?;
    let is_invalid = |text: &&String| url::Host::parse(text).is_err();
    match hosts.iter().find(is_invalid) {
        Some(invalid) => {
            Err(format!("`{key}`: {invalid:?} must be a host name, without scheme and port"))
        }
        None => Ok(hosts),
    }
}

pub(super) fn read_path(key: &str, value: &Value) -> Result<PathBuf, KeyError> {
    read_text(key, value).map(PathBuf::from)
}

/// The configuration contains only references to secrets.
pub(super) fn read_secret_reference(key: &str, value: &Value) -> Result<String, KeyError> {
    let text = read_text(key, value)?;
    if text.starts_with("file:") || text.starts_with("env:") {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{key}` must be file:/path or env:NAME, because the configuration must not contain \
         a secret"
    ))
}

/// Returns `None` for "sqlite": the store is then a file in the data folder.
pub(super) fn read_store(key: &str, value: &Value) -> Result<Option<url::Url>, KeyError> {
    match read_text(key, value)? {
        "sqlite" => Ok(None),
        address => database_url::parse(key, address).map(Some),
    }
}

pub(super) fn read_absolute_paths(key: &str, value: &Value) -> Result<Vec<PathBuf>, KeyError> {
    let roots: Vec<PathBuf> = read_texts(key, value)?.into_iter().map(PathBuf::from).collect();
    match roots.iter().find(|root| !root.is_absolute()) {
        Some(root) => Err(format!("`{key}`: {} must begin with /", root.display())),
        None => Ok(roots),
    }
}

/// Reads the beginnings of names of environment variables.
pub(super) fn read_variable_prefixes(key: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let prefixes = read_texts(key, value)?;
    let is_invalid = |text: &&String| !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match prefixes.iter().find(is_invalid) {
        Some(invalid) => Err(format!("`{key}`: {invalid:?} must be letters, digits and _")),
        None => Ok(prefixes),
    }
}

pub(super) fn read_webhook_paths(key: &str, value: &Value) -> Result<Vec<String>, KeyError> {
    let paths = read_texts(key, value)?;
    let is_invalid = |path: &&String| !path.starts_with('/') || path.contains(['?', '#', ' ']);
    match paths.iter().find(is_invalid) {
        Some(invalid) => Err(format!("`{key}`: {invalid:?} must be a path that begins with /")),
        None => Ok(paths),
    }
}

pub(super) fn read_defect_id_kind(key: &str, value: &Value) -> Result<DefectIdKind, KeyError> {
    match read_text(key, value)? {
        "key" => Ok(DefectIdKind::Key),
        "uuid" => Ok(DefectIdKind::Uuid),
        other => Err(format!("`{key}` must be \"key\" or \"uuid\", not {other:?}")),
    }
}

pub(super) fn read_compile_for(value: &Value) -> Result<CompileFor, KeyError> {
    read_enum_word("compile_for", value, "\"this-cpu\" or \"any-cpu\"")
}

pub(super) fn read_plugins_source(value: &Value) -> Result<PluginsSource, KeyError> {
    read_enum_word("plugins_source", value, "\"folder\" or \"store\"")
}

/// `words` lists the allowed values, for the error message.
fn read_enum_word<T: StringEnum>(key: &str, value: &Value, words: &str) -> Result<T, KeyError> {
    let word = read_text(key, value)?;
    T::parse(word).ok_or_else(|| format!("`{key}` must be {words}, not {word:?}"))
}

pub(super) fn read_public_url(value: &Value) -> Result<url::Url, KeyError> {
    let text = read_text("public_url", value)?;
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
