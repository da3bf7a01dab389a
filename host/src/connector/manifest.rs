//! A connector's manifest: who it is, and a JSON Schema that says which settings, secrets and origins
//! it asks for.

use serde_json::Value;

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
}

/// A manifest that the host cannot take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidManifest(pub String);

/// A setting or secret that does not fit the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// The setting's name.
    pub name: String,
    /// What is wrong and what is allowed.
    pub why: String,
}

pub(super) struct RawManifest {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) summary: String,
    pub(super) homepage: Option<String>,
    pub(super) settings: String,
    pub(super) settle_seconds: u32,
}
