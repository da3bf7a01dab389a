//! The configuration of the server, as plain values that are read and validated together.
//!
//! An unknown key in the file is an error, and so is a value out of range.

mod access;
mod data_folder;
mod database_url;
mod environment;
mod file_system;
mod listen;
mod oidc;
mod read;
mod reload;
mod traces;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::domain::{CompileFor, ConnectorName, Limits, Network, PluginsSource};

pub use access::{
    AccessError, AccessWarning, check_folder, inspect_folder, inspect_private, read_private,
};
pub use data_folder::{DataFolder, database_logs};
pub use file_system::unsuitable_file_system;
pub use listen::{InvalidListenAddress, ListenAddress};
pub use oidc::Oidc;
pub use reload::{LiveConfig, ReloadResult};
pub use traces::Traces;

/// The header in which the proxy that signs people in sends `proxy_secret`.
pub const PROXY_SECRET_HEADER: &str = "x-jackfield-proxy-secret";

/// All settings of the server, with defaults for those that the operator did not set.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The address of the listener for webhooks, and for all other requests unless `admin_listen`
    /// is set.
    pub listen: ListenAddress,
    /// The folder for the database, keys, compiled code and temporary files.
    pub data: PathBuf,
    /// The folder from which connectors are loaded.
    pub plugins: PathBuf,
    /// What decides which connectors exist. If this is `None`, a PostgreSQL store decides; with a
    /// SQLite store, the folder decides.
    pub plugins_source: Option<PluginsSource>,
    /// The address of the PostgreSQL database of the store, without its password. If it is `None`,
    /// the store is a SQLite file in the data folder.
    pub store: Option<url::Url>,
    /// The reference to the password of the database: `file:/path` or `env:NAME`.
    pub store_password: Option<String>,
    /// Maximum number of connections from this server to the database.
    pub store_connections_max: u32,
    /// Maximum duration of an SQL statement that does not change the schema, seconds.
    pub store_statement_s: u32,
    /// Maximum time of an attempt to connect to the database, seconds.
    pub store_connect_s: u32,
    /// The address at which Test Manager reaches the server, with an optional path prefix. If it is
    /// `None`, the address of the main listener is used.
    pub public_url: Option<url::Url>,
    /// The address of a separate listener for everything except `/hooks`.
    pub admin_listen: Option<ListenAddress>,
    /// Whether each client connection of `listen` from a trusted proxy begins with a header of the
    /// PROXY protocol.
    pub proxy_protocol: bool,
    /// Whether each client connection of `admin_listen` from a trusted proxy begins with a header
    /// of the PROXY protocol.
    pub admin_proxy_protocol: bool,
    /// The PEM file of the server's certificate. If it is `None`, the listeners do not use TLS.
    pub tls_certificate: Option<PathBuf>,
    /// The PEM file of the certificate's key.
    pub tls_key: Option<PathBuf>,
    /// Host names to which a server on a loopback address answers, in addition to localhost,
    /// loopback addresses and the host of `public_url`.
    pub allowed_hosts: Vec<String>,
    /// The reverse proxies whose information about the client's address is trusted.
    pub trusted_proxies: Vec<Network>,
    /// The header in which a trusted proxy sends the name of the signed-in person. If it is `None`,
    /// no proxy signs people in.
    pub proxy_user_header: Option<String>,
    /// The header in which the proxy sends the role of the signed-in person. If it is `None`, every
    /// such person is refused.
    pub proxy_role_header: Option<String>,
    /// The reference to the secret that the proxy sends in [`PROXY_SECRET_HEADER`]: `file:/path` or
    /// `env:NAME`.
    pub proxy_secret: Option<String>,
    /// The identity provider with which browsers sign in; `None` if there is none.
    pub oidc: Option<Oidc>,
    /// The settings for the export of traces. If they are `None`, no traces are recorded.
    pub traces: Option<Traces>,
    /// Maximum time that a client connection may stay open without a request, seconds.
    pub keep_alive_s: u32,
    /// Settings for Test Manager's requests: how they are recognised, limited and answered.
    pub webhook: Webhook,
    /// The limits of all connectors that are not in `connector_limits`.
    pub limits: Limits,
    /// The limits of single connectors. For such a connector, they replace `limits`.
    pub connector_limits: BTreeMap<ConnectorName, Limits>,
    /// Maximum number of concurrent runs of all connectors together.
    pub concurrent_runs_host: u32,
    /// Maximum memory of all runs together, bytes. If it is `None`, the maximum depends on the
    /// memory that the machine and the control group allow.
    pub memory_bytes_host: Option<u64>,
    /// Maximum size of the large bodies that all runs together store in temporary files, bytes.
    pub spool_bytes_max: u64,
    /// The pause between two scans of the plugins folder if no change is noticed, milliseconds.
    pub rescan_ms: u64,
    /// Size of the stored connector files with their compiled code above which the oldest unused
    /// files are deleted, bytes.
    pub compiled_bytes_max: u64,
    /// Age above which stored events are deleted in the background, days.
    pub events_days: u32,
    /// Number of stored events above which the oldest are deleted in the background.
    pub events_max: u64,
    /// Size of the stored events with their runs above which the oldest are deleted, bytes.
    pub events_bytes_max: u64,
    /// Age above which entries of the audit log are deleted in the background, days.
    pub audit_days: u32,
    /// The pause before each repetition of the background work, such as the search for defects in
    /// doubt, milliseconds.
    pub sweep_ms: u64,
    /// Duration of a lease on a defect's row, milliseconds.
    pub lease_ms: u64,
    /// The time during which the tracker may still act on a create request that got no answer,
    /// seconds. If it is `None`, this time has no limit.
    pub in_doubt_s: Option<u32>,
    /// The time for which events in progress may continue after the shutdown begins, milliseconds.
    pub drain_ms: u64,
    /// The maximum age of the stored counts of defects that are returned without a request to the
    /// tracker, milliseconds.
    pub kpi_fresh_ms: u64,
    /// A PEM file with certificates that are trusted for trackers and the other HTTP servers that
    /// this server calls, in addition to the system's certificates.
    pub extra_ca_file: Option<PathBuf>,
    /// Folders that may contain the files of `file:` secrets.
    pub secret_file_roots: Vec<PathBuf>,
    /// The name of each environment variable of an `env:` secret must begin with one of these.
    pub secret_env_prefixes: Vec<String>,
    /// The processors for which components are compiled.
    pub compile_for: CompileFor,
    /// The Jackfield executable that compiles components; `None`: the running executable.
    pub compiler: Option<PathBuf>,
}

/// Parts of Test Manager's protocol that are not documented publicly, and the rate of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Maximum rate of webhook requests of one kind to one connection, requests per second.
    pub requests_per_s: u32,
    /// Maximum number of requests of one kind to one connection at once, before the rate applies.
    pub requests_burst: u32,
    /// Additional paths below `/hooks/TOKEN` that are recognised as Create Defect.
    pub create_defect_paths: Vec<String>,
    /// Additional paths below `/hooks/TOKEN` that are recognised as Defect KPIs; `{projectId}`
    /// matches the id of the project.
    pub kpi_paths: Vec<String>,
    /// Whether the answer to Create Defect contains the tracker's key or a UUID.
    pub defect_id_kind: DefectIdKind,
    /// The texts for `status` in the answer to Defect KPIs: without critical and moderate defects,
    /// with moderate but no critical ones, and with critical ones. UiPath does not document these
    /// texts. If they are `None`, the answer has no `status`.
    pub kpi_status: Option<[String; 3]>,
}

/// The kind of `id` in the answer to Create Defect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DefectIdKind {
    /// The key of the defect in the tracker.
    #[default]
    Key,
    /// A UUID that the host assigns.
    Uuid,
}

/// An error of the configuration, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {why}")]
pub struct ConfigError {
    /// The file or the environment variable that contains the error.
    pub location: String,
    /// Describes the error.
    pub why: String,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            requests_per_s: 20,
            requests_burst: 200,
            create_defect_paths: Vec::new(),
            kpi_paths: Vec::new(),
            defect_id_kind: DefectIdKind::default(),
            kpi_status: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ListenAddress::Tcp(([127, 0, 0, 1], 8080).into()),
            data: PathBuf::from("data"),
            plugins: PathBuf::from("plugins"),
            plugins_source: None,
            store: None,
            store_password: None,
            store_connections_max: 6,
            store_statement_s: 10,
            store_connect_s: 5,
            public_url: None,
            admin_listen: None,
            proxy_protocol: false,
            admin_proxy_protocol: false,
            tls_certificate: None,
            tls_key: None,
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_user_header: None,
            proxy_role_header: None,
            proxy_secret: None,
            oidc: None,
            traces: None,
            keep_alive_s: 120,
            webhook: Webhook::default(),
            limits: Limits::default(),
            connector_limits: BTreeMap::new(),
            concurrent_runs_host: 256,
            memory_bytes_host: None,
            spool_bytes_max: 1 << 30,
            rescan_ms: 2_000,
            compiled_bytes_max: 4 << 30,
            events_days: 90,
            events_max: 1_000_000,
            events_bytes_max: 1 << 30,
            audit_days: 400,
            sweep_ms: 15_000,
            lease_ms: 30_000,
            in_doubt_s: Some(900),
            drain_ms: 30_000,
            kpi_fresh_ms: 30_000,
            extra_ca_file: None,
            secret_file_roots: Vec::new(),
            secret_env_prefixes: vec!["JACKFIELD_SECRET_".to_owned()],
            compile_for: CompileFor::ThisCpu,
            compiler: None,
        }
    }
}

impl Config {
    /// Returns the address at which everything except `/hooks` is served.
    #[must_use]
    pub fn admin_address(&self) -> &ListenAddress {
        self.admin_listen.as_ref().unwrap_or(&self.listen)
    }

    /// Returns the source that decides which connectors exist.
    #[must_use]
    pub fn plugins_source(&self) -> PluginsSource {
        self.plugins_source.unwrap_or(match self.store {
            Some(_) => PluginsSource::Store,
            None => PluginsSource::Folder,
        })
    }

    /// Reads the configuration. The environment overrides the file, and the file overrides the
    /// defaults. The variables are `JACKFIELD_<KEY>` for a key of the top level, and
    /// `JACKFIELD_<TABLE>_<KEY>` for the tables `webhook`, `create`, `limits`, `oidc` and `traces`.
    /// Items of lists are separated by commas. An empty variable counts as not set.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML, or a key, a value or a combination is not allowed.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        read::load(file, env)
    }

    /// Reads the address of a store in the format of the key `store`; `None` if the store is a
    /// SQLite file.
    ///
    /// # Errors
    /// The text is not the address of a database, or it contains a password.
    pub fn store_address(text: &str) -> Result<Option<url::Url>, String> {
        values::read_store("store", &toml::Value::String(text.to_owned()))
    }

    /// Returns a warning about each variable `JACKFIELD_…` that Jackfield does not know.
    #[must_use]
    pub fn unknown_variables(&self, env: impl Iterator<Item = (String, String)>) -> Vec<String> {
        environment::unknown_variables(env, &self.secret_env_prefixes)
    }

    /// Returns the path of `public_url` without a slash at its end.
    #[must_use]
    pub fn path_prefix(&self) -> &str {
        self.public_url.as_ref().map_or("", |url| url.path().trim_end_matches('/'))
    }

    /// Returns the paths of the files in the data folder.
    #[must_use]
    pub fn data_folder(&self) -> DataFolder {
        DataFolder::at(&self.data)
    }

    /// Returns the longest `run_ms` limit of any connector, milliseconds.
    #[must_use]
    pub fn longest_run_ms(&self) -> u64 {
        let connector_limits = self.connector_limits.values().map(|limits| limits.run_ms);
        connector_limits.fold(self.limits.run_ms, u64::max)
    }

    /// Returns the limits that apply to one connector.
    #[must_use]
    pub fn limits_of(&self, connector: &ConnectorName) -> Limits {
        self.connector_limits.get(connector).copied().unwrap_or(self.limits)
    }
}
