//! Calls the functions that are needed to load a connector's file: `prepare` for a script, and then
//! `describe` for each connector. Never lets a guest send a request.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::{Call, ConnectorFault, ConnectorName, Limits, Refusal, milliseconds};
use crate::egress::{ActiveConnection, Permission};
use crate::manifest::RawManifest;
use crate::runtime::bindings::model;
use crate::runtime::component::LoadedComponent;
use crate::runtime::guest::ImportData;
use crate::runtime::instance::{CallResult, GuestInstance};
use crate::runtime::permits::PermitRequest;
use crate::runtime::script::{PrepareError, Script, ScriptRunner};

use super::Sandbox;
use super::run::{ExecutionInput, PLUGIN_PERMIT_WAIT, lane_of};

/// Maximum time of `describe`. A slow `describe` delays the loading of other connectors, and
/// `describe` never waits for a tracker, so the time is short.
const DESCRIBE_TIME_MAX: Duration = Duration::from_secs(10);
/// The limit on the CPU time for parsing a script is at least this time. A large script may need
/// more CPU time than a run may use.
const PREPARE_CPU_TIME_MIN: Duration = Duration::from_secs(10);
/// Maximum time for parsing a script. This time is longer than [`PREPARE_CPU_TIME_MIN`], because
/// other guests may use the CPU at the same time.
const PREPARE_TIME_MAX: Duration = Duration::from_secs(60);
/// The limit on the memory for parsing a script is at least this number of bytes. The syntax tree
/// of a script is much larger than its text.
const PREPARE_MEMORY_BYTES_MIN: u64 = 256 << 20;

impl Sandbox {
    pub(crate) async fn describe(
        &self,
        loaded: &LoadedComponent,
        name: &ConnectorName,
        limits: &Limits,
    ) -> Result<RawManifest, Refusal> {
        let limits =
            Limits { run_ms: limits.run_ms.min(milliseconds(DESCRIBE_TIME_MAX)), ..*limits };
        let input = ImportData { script: loaded.script_of_run(name), ..ImportData::default() };
        let export = loaded.plugin.clone();
        let call = |guest: GuestInstance| guest.describe(export);
        self.run_without_connection(loaded, limits, input, call).await?.map_err(|_| {
            let why = "`describe` returned an error, although it has no error type".to_owned();
            Refusal::ConnectorFault(ConnectorFault::Contract(why))
        })
    }

    pub(crate) async fn prepare(
        &self,
        runner: &ScriptRunner,
        name: &ConnectorName,
        text: String,
        limits: &Limits,
    ) -> Result<Script, PrepareError> {
        let limits = Limits {
            cpu_ms: limits.cpu_ms.max(milliseconds(PREPARE_CPU_TIME_MIN)),
            run_ms: milliseconds(PREPARE_TIME_MAX),
            memory_bytes: limits.memory_bytes.max(PREPARE_MEMORY_BYTES_MIN),
            ..*limits
        };
        let (export, file) = (runner.preparation.clone(), format!("{name}.js"));
        let call = |guest: GuestInstance| guest.prepare(export, file, text);
        let prepared = self
            .run_without_connection(&runner.loaded, limits, ImportData::default(), call)
            .await?;
        match prepared {
            Ok(prepared) => prepared.map(Script::from),
            Err(error) => Err(PrepareError::Script(error.message)),
        }
    }

    /// The component has no connection yet, so all its requests are refused.
    async fn run_without_connection<A, F: Future<Output = CallResult<A>>>(
        &self,
        loaded: &LoadedComponent,
        limits: Limits,
        import_data: ImportData,
        call_guest: impl FnOnce(GuestInstance) -> F,
    ) -> Result<Result<A, model::Error>, Refusal> {
        let active = Arc::new(ActiveConnection::without_grants());
        let lane = lane_of(&active, Call::Describe);
        let never_cancelled = CancellationToken::new();
        let stop = self.stop_signals(&never_cancelled);
        let slots = self.slots_needed(loaded);
        let permit_request = PermitRequest { lane: lane.clone(), slots, runs_max: u32::MAX };
        let _permit = self.acquire_permit(permit_request, PLUGIN_PERMIT_WAIT, stop).await?;
        let (permission, trace) = (Permission::Nothing, None);
        let memory = self.open_account(&active, &limits)?;
        let input = ExecutionInput {
            loaded,
            limits,
            active,
            permission,
            trace,
            stop,
            lane,
            memory,
            import_data,
        };
        let (result, finished) = self.execute(input, call_guest).await;
        result.map_err(|refusal| finished.add_failure_cause(refusal))
    }
}
