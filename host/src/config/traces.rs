//! Reads the section `[traces]` of the configuration.
//!
//! The section never contains a secret: the values of headers are references to files or
//! environment variables.

use http::HeaderName;
use toml::{Table, Value};
use url::Url;

use super::read::unknown_key;
use super::values::{KeyError, read_secret_reference, read_text, read_texts};

pub(super) const KEYS: [&str; 3] = ["endpoint", "sample_ratio", "headers"];
/// The keys whose values are lists.
pub(super) const LIST_KEYS: [&str; 1] = ["headers"];

/// Where traces are exported to, and what share of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// The address of the collector for OTLP over HTTP, with its path.
    pub endpoint: Url,
    /// The share of the traces that is exported, from 0 to 1.
    pub sample_ratio: f64,
    /// The name of each header, and the reference to its value: `file:/path` or `env:NAME`.
    pub headers: Vec<(String, String)>,
}

pub(super) fn read(table: Table) -> Result<Traces, KeyError> {
    let (mut endpoint, mut sample_ratio, mut headers) = (None, 1.0, Vec::new());
    for (key, value) in table {
        let full_key = format!("traces.{key}");
        match key.as_str() {
            "endpoint" => endpoint = Some(read_endpoint(&full_key, &value)?),
            "sample_ratio" => sample_ratio = read_ratio(&full_key, &value)?,
            "headers" => headers = read_headers(&full_key, &value)?,
            _ => return Err(unknown_key(&key, KEYS.into_iter(), "traces.")),
        }
    }
    let missing =
        || "[traces] needs the key `traces.endpoint`, the address of a collector".to_owned();
    Ok(Traces { endpoint: endpoint.ok_or_else(missing)?, sample_ratio, headers })
}

fn read_endpoint(key: &str, value: &Value) -> Result<Url, KeyError> {
    let url: Option<Url> = read_text(key, value)?.parse().ok();
    let is_valid = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    };
    url.filter(is_valid).ok_or_else(|| {
        format!(
            "`{key}` must be an address like http://127.0.0.1:4318/v1/traces, without a user name"
        )
    })
}

/// The value of an environment variable is a text.
fn read_ratio(key: &str, value: &Value) -> Result<f64, KeyError> {
    let number = match value {
        Value::Float(number) => Some(*number),
        Value::Integer(0) => Some(0.0),
        Value::Integer(1) => Some(1.0),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("`{key}` must be a number from 0 to 1, not {value}"))
}

fn read_headers(key: &str, value: &Value) -> Result<Vec<(String, String)>, KeyError> {
    let read_header = |item: &String| {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        let value = read_secret_reference(key, &Value::String(value.to_owned()));
        match (HeaderName::try_from(name.trim()), value) {
            (Ok(name), Ok(value)) => Ok((name.as_str().to_owned(), value)),
            _ => Err(format!(
                "`{key}` must have items like authorization=file:/path or authorization=env:NAME"
            )),
        }
    };
    read_texts(key, value)?.iter().map(read_header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_error(lines: &str) -> Option<String> {
        read(lines.parse().expect("TOML")).err()
    }

    #[test]
    fn an_error_names_the_missing_or_wrong_key() {
        const VALID_LINE: &str = "endpoint = \"http://collector:4318/v1/traces\"\n";
        for good in ["", "sample_ratio = 0", "sample_ratio = \"0.25\"", "headers = [\"a=env:B\"]"] {
            assert_eq!(read_error(&format!("{VALID_LINE}{good}")), None, "{good}");
        }
        for (lines, expected) in [
            ("sample_ratio = 0.5".to_owned(), "traces.endpoint"),
            ("endpoint = \"collector:4318\"".to_owned(), "traces.endpoint"),
            ("endpoint = \"http://a:hunter2@b\"".to_owned(), "without a user"),
            (format!("{VALID_LINE}sample_ratio = 1.5"), "from 0 to 1"),
            (format!("{VALID_LINE}sample_ratio = nan"), "from 0 to 1"),
            (format!("{VALID_LINE}headers = [\"authorization=hunter2\"]"), "file:/path"),
            (format!("{VALID_LINE}header = []"), "traces.headers"),
        ] {
            let error = read_error(&lines).unwrap_or_default();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{lines}: {error}");
        }
    }
}
