//! The calls that load a file: `describe`, and for a script `prepare` before it.

use std::time::Duration;

use crate::domain::{ConnectorFault, ConnectorName, Limits, Refusal};
use crate::manifest::RawManifest;
use crate::runtime::component::LoadedComponent;
use crate::runtime::guest::GuestInput;
use crate::runtime::instance::GuestInstance;
use crate::runtime::script::{PrepareError, Script, ScriptRunner};

use super::Sandbox;

/// The longest `describe`. It delays the loading of other connectors, and has no tracker to wait
/// for.
const DESCRIBE_MAX: Duration = Duration::from_secs(10);
/// The CPU time in which a script is parsed, at least: a large one needs more than a run may have.
const PREPARE_CPU_MIN: Duration = Duration::from_secs(10);
/// The time in which a script is parsed. Other guests may compute meanwhile.
const PREPARE_MAX: Duration = Duration::from_secs(60);
/// The memory in which a script is parsed, at least: its syntax tree is much larger than its text.
const PREPARE_BYTES_MIN: u64 = 256 << 20;

impl Sandbox {
    /// Calls `plugin.describe` of a component that has no manifest yet.
    pub(crate) async fn describe(
        &self,
        loaded: &LoadedComponent,
        name: &ConnectorName,
        limits: &Limits,
    ) -> Result<RawManifest, Refusal> {
        let limits = Limits { run_ms: limits.run_ms.min(ms(DESCRIBE_MAX)), ..*limits };
        let input = GuestInput { script: loaded.run_script(name), ..GuestInput::default() };
        let export = loaded.plugin.clone();
        let call = |guest: GuestInstance| guest.describe(export);
        self.run_unconnected(loaded, limits, input, call).await?.map_err(|_| {
            let why = "`describe` returned an error, although it has no error type".to_owned();
            Refusal::ConnectorFault(ConnectorFault::Contract(why))
        })
    }

    /// Has the runner parse a script.
    pub(crate) async fn prepare(
        &self,
        runner: &ScriptRunner,
        name: &ConnectorName,
        text: String,
        limits: &Limits,
    ) -> Result<Script, PrepareError> {
        let limits = Limits {
            cpu_ms: limits.cpu_ms.max(ms(PREPARE_CPU_MIN)),
            run_ms: ms(PREPARE_MAX),
            memory_bytes: limits.memory_bytes.max(PREPARE_BYTES_MIN),
            ..*limits
        };
        let (export, file) = (runner.preparation.clone(), format!("{name}.js"));
        let call = |guest: GuestInstance| guest.prepare(export, file, text);
        let prepared =
            self.run_unconnected(&runner.loaded, limits, GuestInput::default(), call).await?;
        match prepared {
            Ok(prepared) => prepared.map(Script::from),
            Err(error) => Err(PrepareError::Script(error.message)),
        }
    }
}

fn ms(time: Duration) -> u64 {
    crate::domain::milliseconds(time)
}
