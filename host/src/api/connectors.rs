//! `/connectors`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::string_enum;

use super::{EnumString, Time};

/// `GET /connectors`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectorList {
    /// By name.
    pub connectors: Vec<Connector>,
}

string_enum! {
    /// The status of a connector.
    pub enum ConnectorStatus {
        /// The newest version serves.
        Ready = "ready",
        /// Its first version is being compiled.
        Compiling = "compiling",
        /// The newest file cannot be used; an older version may still serve.
        Broken = "broken",
    }
}

/// A file of the plugins folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connector {
    /// The file's stem.
    pub name: String,
    /// Its status.
    pub status: EnumString<ConnectorStatus>,
    /// SHA-256 of the file that serves.
    pub sha256: Option<String>,
    /// The version, from the manifest.
    pub version: Option<String>,
    /// The name, from the manifest.
    pub title: Option<String>,
    /// A description in one line, from the manifest.
    pub summary: Option<String>,
    /// The address of the homepage, from the manifest.
    pub homepage: Option<String>,
    /// `defects`, `kpis` or both.
    pub interfaces: Vec<String>,
    /// JSON Schema of a connection's settings.
    pub settings_schema: Option<Value>,
    /// Seconds until the tracker's search is sure to find a new defect.
    pub index_delay_s: Option<u32>,
    /// Why the newest file cannot be used.
    pub error: Option<String>,
    /// When the serving version was loaded.
    pub loaded_at: Option<Time>,
}
