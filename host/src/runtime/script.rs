//! Contains the types for scripts. A script is a connector whose file is the text of an ES module.
//! The runner, a component of this project, parses the script once and evaluates it in each run, in
//! the same sandbox as any other component.
//!
//! The runner finds the imports and exports of a script in its text. A script that hides an import
//! gains nothing: the run gets data of Test Manager only if the runner found the import that reads
//! it, and only grants of the connection allow requests.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::component::InstancePre;

use crate::domain::Refusal;

use super::bindings::preparation;
use super::component::LoadedComponent;
use super::error::LoadError;
use super::guest::Guest;

/// The runner, built from `guest-examples/script-runner/` by `cargo xtask script-runner`. The item
/// is a `static`, because the program could contain several copies of a `const`.
pub(crate) static RUNNER: &[u8] =
    include_bytes!("../../../guest-examples/script-runner/script-runner.wasm");

/// A script that the runner has parsed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Script {
    /// The program that the runner made from the script's text, and evaluates in each run.
    pub(super) program: String,
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error(transparent)]
    Run(#[from] Refusal),
    /// The runner refused the script. The text contains the reason and the place in the script.
    #[error("{0}")]
    Script(String),
}

pub(super) struct RunScript {
    /// The name of the script's file, for stack traces.
    pub(super) file_name: String,
    pub(super) script: Arc<Script>,
}

/// The linked component that runs scripts.
#[derive(Clone)]
pub(crate) struct ScriptRunner {
    pub(super) loaded: LoadedComponent,
    pub(super) preparation: preparation::GuestIndices,
}

impl From<preparation::Prepared> for Script {
    fn from(prepared: preparation::Prepared) -> Self {
        let preparation::Prepared { program, imports, exports } = prepared;
        Self { program, imports, exports }
    }
}

impl ScriptRunner {
    pub(super) fn new(pre: InstancePre<Guest>) -> Result<Self, LoadError> {
        let preparation = preparation::GuestIndices::new(&pre).map_err(LoadError::Link)?;
        Ok(Self { loaded: LoadedComponent::new(pre)?, preparation })
    }

    /// Returns the component that runs a script: the runner with only the exports that the script
    /// has.
    pub(crate) fn with_script(&self, script: Script) -> Result<LoadedComponent, LoadError> {
        let has_export = |name: &str| {
            let name = format!("jackfield:connector/{name}@");
            script.exports.iter().any(|export| export.starts_with(&name))
        };
        let mut loaded = self.loaded.clone();
        loaded.defects = loaded.defects.filter(|_| has_export("defects"));
        loaded.kpis = loaded.kpis.filter(|_| has_export("kpis"));
        loaded.follow_up = loaded.follow_up.filter(|_| has_export("follow-up"));
        if loaded.defects.is_none() && loaded.kpis.is_none() {
            return Err(LoadError::NoEventInterface(script.exports));
        }
        loaded.script = Some(Arc::new(script));
        Ok(loaded)
    }
}
