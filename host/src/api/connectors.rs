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
    /// All connectors in the plugins folder, sorted by name.
    pub connectors: Vec<Connector>,
}

string_enum! {
    /// Whether a connector can be used.
    pub enum ConnectorStatus {
        /// A version of the connector is loaded, and no newer file has failed.
        Ready = "ready",
        /// The first version of the connector is being compiled; no version can be used yet.
        Compiling = "compiling",
        /// The newest file of the connector cannot be used. An older version may still be in use.
        Broken = "broken",
    }
}

/// A connector: a file in the plugins folder. Members that describe the version in use are `null`
/// if no version can be used; `interfaces` is then empty.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Connector {
    /// The name of the connector, which is the stem of its file's name. Connections refer to the
    /// connector by this name.
    pub name: String,
    /// Whether the connector can be used.
    pub status: EnumString<ConnectorStatus>,
    /// SHA-256 of the file of the version in use; `null` if no version can be used.
    pub sha256: Option<String>,
    /// The semantic version of the connector, from its manifest.
    pub version: Option<String>,
    /// The name that the connector's manifest contains, for people.
    pub title: Option<String>,
    /// A description of the connector in one line, from its manifest.
    pub summary: Option<String>,
    /// The http or https address of a page about the connector, from its manifest. `null` if the
    /// manifest does not state it.
    pub homepage: Option<String>,
    /// The interfaces that the connector exports, such as `defects` and `kpis`.
    pub interfaces: Vec<String>,
    /// The JSON Schema of the settings that a connection of this connector has.
    pub settings_schema: Option<Value>,
    /// The time after which the tracker's search certainly finds a new defect, seconds. `null` if
    /// the manifest does not state it.
    pub index_delay_s: Option<u32>,
    /// The reason why the newest file cannot be used; `null` if the file can be used.
    pub error: Option<String>,
    /// SHA-256 of the newest file, if this file cannot be used; absent if the file can be used or
    /// cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_sha256: Option<String>,
    /// A warning if the version in use has run since it was loaded, and each run ended with a fault
    /// of the connector; otherwise absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// The time at which the version in use was loaded.
    pub loaded_at: Option<Time>,
    /// The kept versions, which `rollback` can restore. Empty in the list of connectors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<ConnectorVersion>,
    /// How much of each limit the connector's newest runs used. Absent if there are no runs, and
    /// always absent in the list of connectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_usage: Option<RecentUsage>,
    /// The source code of the connector if it is a script; always absent in the list of connectors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// How much of each limit the newest runs of a connector used.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RecentUsage {
    /// The number of runs that were counted. They belong to the newest events of the connector's
    /// connections.
    pub runs: u64,
    /// The arrival time of the oldest event whose runs were counted.
    pub since: Time,
    /// The usage of each limit. The key is the configuration key of the limit.
    pub limits: BTreeMap<String, UsedLimit>,
}

/// How much of one limit the newest runs of a connector used.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct UsedLimit {
    /// The median: at least half of the runs used at most this amount.
    pub p50: u64,
    /// The 99th percentile: at least 99 of 100 runs used at most this amount.
    pub p99: u64,
    /// The limit that applies to the connector now.
    pub limit: u64,
}

/// A version of a connector that was in use.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ConnectorVersion {
    /// SHA-256 of the version's file.
    pub sha256: String,
    /// The size of the version's file, bytes.
    pub bytes: u64,
    /// The last time at which the version came into use. A start of the server counts too, unless
    /// the servers share the version.
    pub served_at: Time,
}

/// The body of `POST /connectors/{name}/rollback`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RollbackConnector {
    /// The first digits of the SHA-256 of the version to restore. If absent, the previous version
    /// is restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// The answer to `PUT /connectors/{name}` and `POST /connectors/{name}/rollback`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReplacedConnector {
    /// SHA-256 of the version that was in use before; `null` if no version was in use.
    pub from: Option<String>,
    /// The file in the plugins folder that contains the new version.
    pub file: PathBuf,
    /// The connector, whose new version is in use now.
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
    /// The kind of the uploaded file. If absent, a text file is a script, and any other file is a
    /// component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<EnumString<ConnectorFile>>,
}
