//! The parts of `jackfield check`: an engine and a sandbox, started once for any number of files.

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::plugins::{CheckReport, PluginError, check_file};

use super::Runner;

/// Checks connector files as the server would load them.
pub struct Checker {
    config: Arc<Config>,
    runner: Runner,
}

impl Checker {
    /// Starts the engine.
    ///
    /// # Errors
    /// The engine or the sandbox cannot be started.
    pub fn start(config: Config) -> anyhow::Result<Self> {
        let runner = Runner::start(&config)?;
        Ok(Self { config: Arc::new(config), runner })
    }

    /// Compiles, links and describes a file.
    ///
    /// # Errors
    /// The server would not load the file; the error says the reason.
    pub async fn check(&self, file: &Path) -> Result<CheckReport, PluginError> {
        let Runner { engine, sandbox, clock, .. } = &self.runner;
        let config = Arc::clone(&self.config);
        check_file(file, config, Arc::clone(engine), Arc::clone(sandbox), Arc::clone(clock)).await
    }
}
