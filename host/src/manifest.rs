//! A connector's manifest: its name and version, and a JSON Schema of the settings, secrets and
//! origins that the connector needs. This module never runs a guest.
//!
//! The host must not trust the result of `describe`. Therefore texts have maximum lengths, and only
//! some keywords of JSON Schema are accepted: others could make the check of a value slow.

mod compare;
mod formats;
mod grants;
mod keywords;
mod pattern;
mod place;
mod required_access;
mod rules;
mod schema;
mod schema_error;
mod settings;

use std::sync::Arc;

use serde_json::Value;

use crate::domain::{is_printable, is_web_address};

pub use grants::describe_place;
pub(crate) use grants::missing_grants;
pub use required_access::{DeclaredValue, RequiredAccess};
pub use schema_error::SchemaError;
pub use settings::SettingError;

/// Maximum length of the settings schema, bytes.
const SETTINGS_BYTES_MAX: usize = 64 * 1024;
/// Maximum length of the name and of the version, bytes.
const NAME_BYTES_MAX: usize = 100;
/// Maximum length of the summary and of the homepage, bytes.
const SUMMARY_BYTES_MAX: usize = 500;
/// Maximum index delay of a tracker's search, seconds.
pub const INDEX_DELAY_S_MAX: u32 = 24 * 60 * 60;

/// A connector's manifest, read from the result of `describe` and checked.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The connector's name for people, which may differ from the name of the connector's file.
    pub name: String,
    /// The connector's semantic version.
    pub version: semver::Version,
    /// One line that describes the connector.
    pub summary: String,
    /// An http or https address with more information.
    pub homepage: Option<String>,
    /// The settings schema: JSON Schema 2020-12 of one flat object.
    pub settings_schema: Value,
    /// The time in seconds after a write until the tracker's search is certain to find the defect.
    /// Absent if the connector cannot search.
    pub index_delay_s: Option<u32>,
    /// Whether the connector imports `report` or `test-manager`, to read data about failed tests.
    /// The result of `describe` does not contain this value.
    pub reads_test_data: bool,
    /// The settings and secrets that `settings_schema` declares.
    declared: Arc<schema::Schema>,
}

/// The reason why the host refuses a manifest.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    /// The name is empty or only spaces.
    #[error("the manifest's `name` is empty")]
    EmptyName,
    /// A text is too long.
    #[error("the manifest's `{field}` has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLong {
        /// The field of the manifest.
        field: &'static str,
        /// The length of the text.
        bytes: usize,
        /// The maximum length.
        bytes_max: usize,
    },
    /// A text contains characters that cannot be printed in one line.
    #[error("the manifest's `{field}` must not contain control or format characters")]
    NotPrintable {
        /// The field of the manifest.
        field: &'static str,
    },
    /// The version is not a semantic version, so it cannot be compared with other versions.
    #[error(
        "the manifest's `version` {version:?} is not a semantic version such as 1.4.0: {source}"
    )]
    Version {
        /// The version in the manifest.
        version: String,
        /// The error of the parser.
        source: semver::Error,
    },
    /// The homepage is not an http or https address.
    #[error("the manifest's `homepage` must be an http or https address")]
    Homepage,
    /// The index delay is too long.
    #[error("the manifest's `index-delay-seconds` is {seconds}; at most {seconds_max} is allowed")]
    IndexDelay {
        /// The index delay in the manifest.
        seconds: u32,
        /// The maximum, [`INDEX_DELAY_S_MAX`].
        seconds_max: u32,
    },
    /// The settings schema is not JSON.
    #[error("the manifest's `settings` must be JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// The settings schema is not valid, or the host does not support a part of it.
    #[error("the manifest's `settings` are not a supported JSON Schema: {0}")]
    Schema(#[from] SchemaError),
}

/// A manifest as the guest returned it, before it is checked.
#[derive(Debug, Clone)]
pub(crate) struct RawManifest {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    pub(crate) homepage: Option<String>,
    /// The settings schema, as JSON text.
    pub(crate) settings: String,
    pub(crate) index_delay_seconds: Option<u32>,
}

impl Manifest {
    /// Reads and checks the result of `describe`.
    ///
    /// # Errors
    /// The first error that is found.
    pub(crate) fn read(raw: &RawManifest) -> Result<Self, InvalidManifest> {
        check_line("name", &raw.name, NAME_BYTES_MAX)?;
        check_line("version", &raw.version, NAME_BYTES_MAX)?;
        check_line("summary", &raw.summary, SUMMARY_BYTES_MAX)?;
        if raw.name.trim().is_empty() {
            return Err(InvalidManifest::EmptyName);
        }
        if let Some(homepage) = &raw.homepage {
            check_line("homepage", homepage, SUMMARY_BYTES_MAX)?;
            // People open the homepage as a link, so other schemes, such as `javascript`, are
            // refused.
            if !is_web_address(homepage) {
                return Err(InvalidManifest::Homepage);
            }
        }
        let version = semver::Version::parse(&raw.version)
            .map_err(|source| InvalidManifest::Version { version: raw.version.clone(), source })?;
        let (seconds, seconds_max) =
            (raw.index_delay_seconds.unwrap_or_default(), INDEX_DELAY_S_MAX);
        if seconds > seconds_max {
            return Err(InvalidManifest::IndexDelay { seconds, seconds_max });
        }
        check_length("settings", &raw.settings, SETTINGS_BYTES_MAX)?;
        let settings_schema = serde_json::from_str(&raw.settings).map_err(InvalidManifest::Json)?;
        if !is_printable_schema(&settings_schema, false) {
            return Err(InvalidManifest::NotPrintable { field: "settings" });
        }
        let declared = Arc::new(schema::Schema::read(&settings_schema)?);
        Ok(Self {
            name: raw.name.clone(),
            version,
            summary: raw.summary.clone(),
            homepage: raw.homepage.clone(),
            settings_schema,
            index_delay_s: raw.index_delay_seconds,
            reads_test_data: false,
            declared,
        })
    }
}

fn check_line(field: &'static str, text: &str, bytes_max: usize) -> Result<(), InvalidManifest> {
    check_length(field, text, bytes_max)?;
    if !text.chars().all(is_printable) {
        return Err(InvalidManifest::NotPrintable { field });
    }
    Ok(())
}

/// Whether no text in a settings schema has characters that change how text is displayed. Line
/// breaks and tabs are allowed in a default, a description and an example.
fn is_printable_schema(schema: &Value, allows_line_breaks: bool) -> bool {
    let is_printable_text = |text: &str, allows_line_breaks| {
        text.chars().all(|c| is_printable(c) || (allows_line_breaks && matches!(c, '\n' | '\t')))
    };
    match schema {
        Value::String(text) => is_printable_text(text, allows_line_breaks),
        Value::Array(items) => {
            items.iter().all(|item| is_printable_schema(item, allows_line_breaks))
        }
        Value::Object(members) => members.iter().all(|(name, value)| {
            let allows_line_breaks =
                ["default", "description", "examples"].contains(&name.as_str());
            is_printable_text(name, false) && is_printable_schema(value, allows_line_breaks)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

fn check_length(field: &'static str, text: &str, bytes_max: usize) -> Result<(), InvalidManifest> {
    let bytes = text.len();
    if bytes > bytes_max {
        return Err(InvalidManifest::TooLong { field, bytes, bytes_max });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
