//! Scripts: a connector that is the text of an ES module. A component of this project, the runner,
//! parses it once and evaluates it in each run, in the same sandbox as any other component.
//!
//! What a script imports and exports is what the runner read in its text. A script that deceives
//! the runner gains nothing: no import reaches more than the run's session and report give.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::component::InstancePre;

use crate::domain::Refusal;

use super::bindings::preparation;
use super::component::LoadedComponent;
use super::error::LoadError;
use super::guest::Guest;

/// The runner, built from `guest-examples/script-runner/` by `cargo xtask script-runner`. Not a
/// constant, of which the program could have several copies.
pub(crate) static RUNNER: &[u8] =
    include_bytes!("../../../guest-examples/script-runner/script-runner.wasm");

/// What the runner made of a script's text.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Script {
    /// What the runner evaluates in each run.
    pub(super) program: String,
    /// The names of the interfaces that the script imports.
    pub(super) imports: Vec<String>,
    /// The names of the interfaces that the script exports.
    pub(super) exports: Vec<String>,
}

/// Why a script cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    /// Parsing it, or running its top level, hit a limit or failed.
    #[error(transparent)]
    Run(#[from] Refusal),
    /// The runner's reason, with the place in the script.
    #[error("{0}")]
    Script(String),
}

/// The script of one run.
pub(super) struct RunScript {
    /// The name of its file, for stack traces.
    pub(super) file: String,
    pub(super) script: Arc<Script>,
}

/// The linked component that runs scripts.
#[derive(Clone)]
pub(crate) struct ScriptRunner {
    pub(super) loaded: LoadedComponent,
    pub(super) preparation: preparation::GuestIndices,
}

impl From<preparation::Prepared> for Script {
    fn from(given: preparation::Prepared) -> Self {
        Self { program: given.program, imports: given.imports, exports: given.exports }
    }
}

impl ScriptRunner {
    /// Looks up what the runner exports.
    ///
    /// # Errors
    /// It is not the component that this host was built for.
    pub(super) fn new(pre: InstancePre<Guest>) -> Result<Self, LoadError> {
        let preparation = preparation::GuestIndices::new(&pre).map_err(LoadError::Link)?;
        Ok(Self { loaded: LoadedComponent::new(pre)?, preparation })
    }

    /// The component of a script: the runner, with the exports that the script has.
    ///
    /// # Errors
    /// The script exports no interface that answers events.
    pub(crate) fn with_script(&self, script: Script) -> Result<LoadedComponent, LoadError> {
        let exports = |name: &str| {
            let name = format!("jackfield:connector/{name}@");
            script.exports.iter().any(|export| export.starts_with(&name))
        };
        let mut loaded = self.loaded.clone();
        loaded.defects = loaded.defects.filter(|_| exports("defects"));
        loaded.kpis = loaded.kpis.filter(|_| exports("kpis"));
        loaded.follow_up = loaded.follow_up.filter(|_| exports("follow-up"));
        if loaded.defects.is_none() && loaded.kpis.is_none() {
            return Err(LoadError::NoEventInterface(script.exports));
        }
        loaded.script = Some(Arc::new(script));
        Ok(loaded)
    }
}
