//! The configuration: read and validated once, then only values.
//!
//! Never guesses: an unknown key or a value out of range is an error that names the file, the key and what
//! is allowed.

mod access;
mod data_folder;
mod environment;
mod file_system;
mod read;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::domain::{ConnectorName, Limits, Network};

pub use access::{
    AccessError, AccessWarning, check_folder, judge_folder, judge_private, read_private,
};
pub use data_folder::DataFolder;
pub use file_system::unsuitable_file_system;

/// Everything an operator may set, with its default where nothing is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where the server listens.
    pub listen: SocketAddr,
    /// The data folder.
    pub data: PathBuf,
    /// The plugins folder.
    pub plugins: PathBuf,
    /// The address under which Test Manager reaches the server, a path prefix allowed; absent:
    /// `http://{listen}`.
    pub public_url: Option<url::Url>,
    /// A second listener, to which everything but `/hooks` moves.
    pub admin_listen: Option<SocketAddr>,
    /// The proxies whose word for a client's address is taken.
    pub trusted_proxies: Vec<Network>,
    /// How long a client connection may stay open without a request, seconds.
    pub keep_alive_s: u32,
    /// What Test Manager's requests look like.
    pub webhook: Webhook,
    /// The limits of every connector.
    pub limits: Limits,
    /// The limits of connectors that have their own.
    pub connector_limits: BTreeMap<ConnectorName, Limits>,
    /// Concurrent runs of the whole host.
    pub concurrent_runs_host: u32,
    /// What the runs of the whole host may hold in memory, bytes; absent: 60 % of what the machine and
    /// the control group allow.
    pub memory_bytes_host: Option<u64>,
    /// How many bytes of large bodies are kept in temporary files while their runs last.
    pub spool_bytes_max: u64,
    /// How often the plugins folder is read without a notification, milliseconds.
    pub rescan_ms: u64,
    /// How much compiled code is kept, bytes; what serves or was accepted is always kept.
    pub compiled_bytes_max: u64,
    /// How long events are kept, days.
    pub events_days: u32,
    /// How many events are kept.
    pub events_max: u64,
    /// How many bytes of events are kept.
    pub events_bytes_max: u64,
    /// How often the sweep searches for defects in doubt, milliseconds.
    pub sweep_ms: u64,
    /// Length of a lease on a defect's row, milliseconds; renewed at a third of it.
    pub lease_ms: u64,
    /// How long the tracker may still act on a create request without an answer, seconds; `None`: without limit,
    /// so that a person resolves every such defect.
    pub in_doubt_s: Option<u32>,
    /// How long running events may go on once the server is asked to end, milliseconds.
    pub drain_ms: u64,
    /// How long counts are answered without asking the tracker again, milliseconds.
    pub kpi_fresh_ms: u64,
    /// A PEM file of further trust anchors for trackers.
    pub extra_ca_file: Option<PathBuf>,
    /// Folders below which `file:` secrets may be.
    pub secret_file_roots: Vec<PathBuf>,
    /// Prefixes that the names of `env:` secrets may have.
    pub secret_env_prefixes: Vec<String>,
    /// The Jackfield executable that compiles components; absent: this process's own.
    pub compiler: Option<PathBuf>,
}

/// What Test Manager's requests and answers look like, where it is not public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Requests per second that a connection answers: those for Create Defect, and as many others.
    pub requests_per_s: u32,
    /// Requests that it answers at once beyond that rate.
    pub requests_burst: u32,
    /// More paths below the token that mean Create Defect.
    pub create_defect_paths: Vec<String>,
    /// More paths below the token that mean Defect KPIs; `{projectId}` is the project.
    pub kpi_paths: Vec<String>,
    /// The `id` of the answer.
    pub defect_id: DefectIdKind,
    /// The three values of `status` (ok, moderate, critical), which are not public; absent: no `status`.
    pub kpi_status: Option<[String; 3]>,
}

/// The `id` in the answer to Create Defect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DefectIdKind {
    /// The tracker's key.
    #[default]
    Key,
    /// A UUID that the host assigns.
    Uuid,
}

/// What is wrong with the configuration. One line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {why}")]
pub struct ConfigError {
    /// The file, or the environment variable.
    pub place: String,
    /// The key, what is wrong with it and what is allowed.
    pub why: String,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            requests_per_s: 20,
            requests_burst: 200,
            create_defect_paths: Vec::new(),
            kpi_paths: Vec::new(),
            defect_id: DefectIdKind::default(),
            kpi_status: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: PathBuf::from("data"),
            plugins: PathBuf::from("plugins"),
            public_url: None,
            admin_listen: None,
            trusted_proxies: Vec::new(),
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
            sweep_ms: 15_000,
            lease_ms: 30_000,
            in_doubt_s: Some(900),
            drain_ms: 30_000,
            kpi_fresh_ms: 30_000,
            extra_ca_file: None,
            secret_file_roots: Vec::new(),
            secret_env_prefixes: vec!["JACKFIELD_SECRET_".to_owned()],
            compiler: None,
        }
    }
}

impl Config {
    /// The defaults, overridden by the file, overridden by the environment: `JACKFIELD_<KEY>` for a key of
    /// the top level, `JACKFIELD_LIMITS_<NAME>`, `JACKFIELD_WEBHOOK_<KEY>`, `JACKFIELD_CREATE_<KEY>`; lists are separated by commas.
    /// An empty variable is not set; other variables are ignored.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML, a key is unknown, or a value is not allowed.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        read::load(file, env)
    }

    /// Says of each variable `JACKFIELD_…` that sets nothing, which name is nearest. Empty ones, and those
    /// that Kubernetes makes for services, are left out.
    #[must_use]
    pub fn unknown_variables(&self, env: impl Iterator<Item = (String, String)>) -> Vec<String> {
        environment::unknown(env, &self.secret_env_prefixes)
    }

    /// The files of the data folder.
    #[must_use]
    pub fn data_folder(&self) -> DataFolder {
        DataFolder::at(&self.data)
    }

    /// The longest run of any connector, milliseconds.
    #[must_use]
    pub fn longest_run_ms(&self) -> u64 {
        let own = self.connector_limits.values().map(|limits| limits.run_ms);
        own.fold(self.limits.run_ms, u64::max)
    }

    /// The limits of one connector.
    #[must_use]
    pub fn limits_of(&self, connector: &ConnectorName) -> Limits {
        self.connector_limits.get(connector).copied().unwrap_or(self.limits)
    }
}
