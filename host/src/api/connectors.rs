//! Types of `/connectors`, which lists, uploads, removes and rolls back connectors.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::string_enum;

use super::{EnumString, Time};

/// The answer to `GET /connectors`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConnectorList {
    /// All connectors in the plugins folder, by name.
    pub connectors: Vec<Connector>,
}

string_enum! {
    /// Whether a connector can be used.
    pub enum ConnectorStatus {
        /// A version is loaded, and no newer file has failed.
        Ready = "ready",
        /// The first version of the connector is being compiled; no version can be used yet.
        Compiling = "compiling",
        /// The newest file cannot be used; an older version may still be in use.
        Broken = "broken",
    }
}

/// A connector: a file in the plugins folder.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Connector {
    /// The stem of the file's name; connections refer to the connector by it.
    pub name: String,
    /// Whether the connector can be used.
    pub status: EnumString<ConnectorStatus>,
    /// SHA-256 of the file of the version in use; absent if no version can be used.
    pub sha256: Option<String>,
    /// The semantic version, from the manifest.
    pub version: Option<String>,
    /// The name, from the manifest.
    pub title: Option<String>,
    /// A description in one line, from the manifest.
    pub summary: Option<String>,
    /// An http or https address, from the manifest.
    pub homepage: Option<String>,
    /// The exported interfaces of the contract, such as `defects` and `kpis`.
    pub interfaces: Vec<String>,
    /// JSON Schema of a connection's settings.
    pub settings_schema: Option<Value>,
    /// Seconds until the tracker's search is sure to find a new defect.
    pub index_delay_s: Option<u32>,
    /// The reason why the newest file cannot be used; absent if it can.
    pub error: Option<String>,
    /// SHA-256 of the file that cannot be used; absent if the newest file can be used or read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_sha256: Option<String>,
    /// A warning about the version in use: all its runs failed; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The time at which the version in use was loaded.
    pub loaded_at: Option<Time>,
    /// The versions that `rollback` can restore; the version that was used last is first. Empty in
    /// the list of connectors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<ConnectorVersion>,
    /// How much of their limits the newest runs used; absent if there are no runs, and in the list
    /// of connectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_usage: Option<RecentUsage>,
    /// The text of the file, if it is a script; absent in the list of connectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// How much of their limits the newest runs of a connector used.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RecentUsage {
    /// The number of these runs, which belong to the newest events of the connector's connections.
    pub runs: u64,
    /// The time at which the event of the oldest of these runs arrived.
    pub since: Time,
    /// The usage of each limit, by the configuration key of the limit.
    pub limits: BTreeMap<String, UsedLimit>,
}

/// How much of one limit runs used.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct UsedLimit {
    /// The median: half of the runs used at most this.
    pub p50: u64,
    /// The 99th percentile: 99 of 100 runs used at most this.
    pub p99: u64,
    /// The current limit of the connector.
    pub limit: u64,
}

/// A version of a connector that was in use.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConnectorVersion {
    /// SHA-256 of the file.
    pub sha256: String,
    /// The size of the file, bytes.
    pub bytes: u64,
    /// The last time at which the version came into use.
    pub served_at: Time,
}

/// The body of `POST /connectors/{name}/rollback`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RollbackConnector {
    /// The first digits of the SHA-256 of the version to restore; the previous version if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// The answer to `PUT /connectors/{name}` and `POST /connectors/{name}/rollback`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReplacedConnector {
    /// SHA-256 of the version that was in use before; absent if there was none.
    pub from: Option<String>,
    /// The file in the plugins folder that contains the new version.
    pub file: PathBuf,
    /// The connector, which uses the new version now.
    #[serde(flatten)]
    pub connector: Connector,
}

string_enum! {
    /// The kind of an uploaded file.
    pub enum ConnectorFile {
        /// A WebAssembly component.
        Component = "component",
        /// The source of a script.
        Script = "script",
    }
}

/// The query of `PUT /connectors/{name}`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UploadQuery {
    /// The kind of the file; if absent, a text is a script, and any other file is a component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EnumString<ConnectorFile>>,
}
