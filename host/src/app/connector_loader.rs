//! Loads connector files for commands that run a connector without a server and without a database.

mod exports;

use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, LiveConfig};
use crate::domain::Clock;
use crate::egress::{OwnServer, Tape};
use crate::plugins::{CheckReport, CodeCache, PluginError, load_file};
use crate::runtime::Connector;

use super::GuestRuntime;
use exports::ExportCalls;

/// A connector file that was checked, and that the server would load.
pub struct CheckedFile {
    /// The description of the connector and of what it needs.
    pub report: CheckReport,
    /// For a component that was built from JavaScript: the objects and functions that it exports
    /// but its JavaScript file does not contain, as sentences.
    pub missing_functions: Vec<String>,
    /// The loaded connector.
    pub connector: Arc<Connector>,
}

/// Loads connector files in the same way as the server.
pub struct ConnectorLoader {
    pub(super) config: Arc<LiveConfig>,
    pub(super) guest_runtime: GuestRuntime,
    cache: CodeCache,
}

impl ConnectorLoader {
    /// Starts the engine.
    ///
    /// # Errors
    /// The engine or the sandbox cannot be started.
    pub fn start(config: Config) -> anyhow::Result<Self> {
        Self::start_with_cache(config, CodeCache::Temporary, None)
    }

    /// `tape` records or answers the requests of guests.
    pub(super) fn start_with_cache(
        config: Config,
        cache: CodeCache,
        tape: Option<Tape>,
    ) -> anyhow::Result<Self> {
        let guest_runtime = GuestRuntime::start(&config, tape, OwnServer::default())?;
        Ok(Self { config: Arc::new(LiveConfig::new(config)), guest_runtime, cache })
    }

    /// Compiles, links and describes a connector file, and calls its exports to find missing
    /// functions.
    ///
    /// # Errors
    /// The server would not load the file; the error is the reason.
    pub async fn check(&self, file: &Path) -> Result<CheckedFile, PluginError> {
        let (connector, report) = self.load(file).await?;
        let limits = self.config.current().limits_of(connector.name());
        let calls = ExportCalls::new(&self.guest_runtime.sandbox, &connector, limits);
        let missing_functions = calls.find_missing_functions().await;
        Ok(CheckedFile { report, missing_functions, connector })
    }

    pub(super) async fn load(
        &self,
        file: &Path,
    ) -> Result<(Arc<Connector>, CheckReport), PluginError> {
        let GuestRuntime { engine, sandbox, clock, .. } = &self.guest_runtime;
        let config = Arc::clone(&self.config);
        let parts =
            (config, Arc::clone(engine), Arc::clone(sandbox), Arc::clone(clock) as Arc<dyn Clock>);
        load_file(file, &self.cache, parts).await
    }
}
