//! A connector's manifest: who it is, and a JSON Schema that says which settings, secrets and origins
//! it asks for.
//!
//! What `describe` returned is the text of a stranger: everything is bounded and only known words of
//! JSON Schema are taken, so that nothing here can be made slow.

mod demand;
mod schema;
mod settings;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use demand::{covers, words};

/// Longest schema text, in bytes.
const SETTINGS_BYTES_MAX: usize = 64 * 1024;
/// Longest name and version, in bytes.
const NAME_BYTES_MAX: usize = 100;
/// Longest summary and homepage, in bytes.
const LINE_BYTES_MAX: usize = 500;
/// Longest time until a tracker's search is up to date, in seconds.
const SETTLE_S_MAX: u32 = 24 * 60 * 60;

/// What `describe` returned, read and checked once.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Shown to people.
    pub name: String,
    /// Semantic version.
    pub version: semver::Version,
    /// One line.
    pub summary: String,
    /// Where to read more.
    pub homepage: Option<String>,
    /// JSON Schema 2020-12 of the settings: one flat object.
    pub settings_schema: Value,
    /// Seconds until a fresh defect is sure to be found.
    pub settle_s: u32,
    /// Checks the settings that are no secrets.
    validator: Arc<jsonschema::Validator>,
}

/// A manifest that the host cannot take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidManifest(pub String);

/// A setting or secret that does not fit the manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}`: {why}")]
pub struct SettingsProblem {
    /// The setting's name.
    pub name: String,
    /// What is wrong and what is allowed.
    pub why: String,
}

/// A manifest as the guest returned it.
#[derive(Debug, Clone)]
pub(crate) struct RawManifest {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    pub(crate) homepage: Option<String>,
    pub(crate) settings: String,
    pub(crate) settle_seconds: u32,
}

impl Manifest {
    /// Reads and checks what `describe` returned.
    ///
    /// # Errors
    /// Names the part that cannot be taken, and what is allowed.
    pub(crate) fn read(raw: &RawManifest) -> Result<Self, InvalidManifest> {
        line("name", &raw.name, NAME_BYTES_MAX)?;
        line("version", &raw.version, NAME_BYTES_MAX)?;
        if raw.name.trim().is_empty() {
            return Err(InvalidManifest("the manifest's name is empty".to_owned()));
        }
        line("summary", &raw.summary, LINE_BYTES_MAX)?;
        if let Some(homepage) = &raw.homepage {
            line("homepage", homepage, LINE_BYTES_MAX)?;
            web_address(homepage)?;
        }
        let version = semver::Version::parse(&raw.version).map_err(|error| {
            InvalidManifest(format!(
                "the manifest's version {:?} is no semantic version such as \"1.4.0\": {error}",
                raw.version
            ))
        })?;
        if raw.settle_seconds > SETTLE_S_MAX {
            return Err(InvalidManifest(format!(
                "the manifest's settle-seconds is {}; at most {SETTLE_S_MAX}",
                raw.settle_seconds
            )));
        }
        let settings_schema = schema_of(&raw.settings)?;
        let validator = Arc::new(schema::check(&settings_schema).map_err(InvalidManifest)?);
        Ok(Self {
            name: raw.name.clone(),
            version,
            summary: raw.summary.clone(),
            homepage: raw.homepage.clone(),
            settings_schema,
            settle_s: raw.settle_seconds,
            validator,
        })
    }
}

fn schema_of(text: &str) -> Result<Value, InvalidManifest> {
    if text.len() > SETTINGS_BYTES_MAX {
        return Err(InvalidManifest(format!(
            "the manifest's settings have {} bytes; at most {SETTINGS_BYTES_MAX}",
            text.len()
        )));
    }
    serde_json::from_str(text)
        .map_err(|error| InvalidManifest(format!("the manifest's settings are no JSON: {error}")))
}

fn line(what: &str, text: &str, bytes_max: usize) -> Result<(), InvalidManifest> {
    if text.len() > bytes_max {
        return Err(InvalidManifest(format!(
            "the manifest's {what} has more than {bytes_max} bytes"
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidManifest(format!("the manifest's {what} has control characters")));
    }
    Ok(())
}

/// It becomes a link in the console, so no other scheme may stand there.
fn web_address(text: &str) -> Result<(), InvalidManifest> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(()),
        _ => Err(InvalidManifest("the manifest's homepage is no http or https address".to_owned())),
    }
}

#[cfg(test)]
mod tests;
