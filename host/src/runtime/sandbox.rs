//! Runs connectors. Each call uses a new instance with its own limits. Keeps no data of a guest
//! between runs, and never uses the room `store`.

mod any_call;
mod follow_up;
mod load;
mod run;
mod set_up;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::{Call, Clock, Counts, Defect, FailedTest, Journal, Marker};
use crate::egress::{Egress, Permission};
use crate::memory::HostMemory;
use crate::redact::TextKind;
use crate::telemetry::PoolState;

use super::bindings::{self, Redact, model};
use super::call_input::CallInput;
use super::engine::Engine;
use super::instance::GuestInstance;
use super::permits::{Capacity, Permits};
use super::poll_permits::new_poll_permits;
use super::test_report::TestReport;

pub use any_call::{CallArguments, ReturnedValue};
pub use run::{RunEnd, RunInput};

use run::{ExportCall, refuse_unsupported_call};

/// Maximum number of runs of one lane (one kind of call of a connection) that wait for a permit at
/// the same time.
const WAITING_RUNS_MAX: usize = 256;

/// Runs connectors. Each call uses a new instance.
pub struct Sandbox {
    engine: Arc<Engine>,
    egress: Arc<Egress>,
    clock: Arc<dyn Clock>,
    /// The permits to start a run.
    permits: Arc<Permits>,
    /// The permits to poll a guest.
    poll_permits: Arc<Permits>,
    /// Cancelled when the server shuts down. This stops all runs.
    server_stop: CancellationToken,
    memory: Arc<HostMemory>,
}

impl Sandbox {
    /// Creates a sandbox in which at most `runs_max` runs execute at the same time and use at most
    /// `memory_bytes` of memory together.
    #[must_use]
    pub(crate) fn new(
        engine: Arc<Engine>,
        egress: Arc<Egress>,
        clock: Arc<dyn Clock>,
        runs_max: u32,
        memory_bytes: u64,
    ) -> Self {
        let permits = Permits::new(Capacity {
            slots: engine.address_space().slots,
            runs: runs_max,
            waiting_max: WAITING_RUNS_MAX,
            keeps_reserve: true,
        });
        let server_stop = CancellationToken::new();
        let memory = HostMemory::new(memory_bytes);
        Self {
            engine,
            egress,
            clock,
            permits,
            poll_permits: new_poll_permits(),
            server_stop,
            memory,
        }
    }

    /// The memory of all runs. Requests of the host itself are charged to it too.
    pub(crate) fn host_memory(&self) -> &Arc<HostMemory> {
        &self.memory
    }

    /// Returns how many permits, slots and bytes of memory are in use now, their limits, and how
    /// many runs wait for a permit.
    #[must_use]
    pub fn pool_state(&self) -> PoolState {
        let (now, capacity) = (self.permits.usage(), self.permits.capacity());
        PoolState {
            runs: now.runs.into(),
            runs_max: capacity.runs.into(),
            waiting: u64::try_from(now.waiting).unwrap_or(u64::MAX),
            slots: now.slots.into(),
            slots_max: capacity.slots.into(),
            memory_bytes: self.memory.used(),
            memory_bytes_max: self.memory.bytes_max(),
        }
    }

    /// Stops all guests, and refuses all later runs. Writes in progress have a short time to
    /// complete.
    pub fn stop(&self) {
        self.server_stop.cancel();
        self.egress.close();
    }

    /// Calls `defects.create`. The journal records each write before its first byte is sent.
    pub async fn create(
        &self,
        run: RunInput,
        test: &FailedTest,
        marker: &Marker,
        journal: Arc<dyn Journal>,
        test_report: Arc<TestReport>,
    ) -> RunEnd<Defect> {
        let Some(export) = run.connector.loaded().defects.clone() else {
            return refuse_unsupported_call(&run, Call::Create, "defects");
        };
        let call_input = CallInput {
            test: Some(test),
            marker: Some(marker),
            ..CallInput::without_arguments(Call::Create)
        };
        let (test, marker) = (test.into(), marker.to_string());
        let call = |guest: GuestInstance| guest.create(export, test, marker);
        let (permission, test_report) = (Permission::Writes(journal), Some(test_report));
        let export_call = ExportCall { call_input, permission, test_report };
        self.run(run, export_call, call, bindings::check_defect).await
    }

    /// Calls `defects.find`: returns the defects that the connector found with this marker. By the
    /// contract, the oldest defect is the first. Writes are refused.
    pub async fn find(&self, run: RunInput, marker: &Marker) -> RunEnd<Vec<Defect>> {
        let Some(export) = run.connector.loaded().defects.clone() else {
            return refuse_unsupported_call(&run, Call::Find, "defects");
        };
        let call_input =
            CallInput { marker: Some(marker), ..CallInput::without_arguments(Call::Find) };
        let marker = marker.to_string();
        let call = |guest: GuestInstance| guest.find(export, marker);
        let convert = |defects: Vec<model::Defect>, redact: Redact<'_>| {
            defects.into_iter().map(|defect| bindings::check_defect(defect, redact)).collect()
        };
        self.run(run, ExportCall::read_only(call_input), call, convert).await
    }

    /// Calls `kpis.count`. Writes are refused.
    pub async fn count(&self, run: RunInput, project: &str) -> RunEnd<Counts> {
        let Some(export) = run.connector.loaded().kpis.clone() else {
            return refuse_unsupported_call(&run, Call::Count, "kpis");
        };
        let call_input =
            CallInput { project: Some(project), ..CallInput::without_arguments(Call::Count) };
        let project = project.to_owned();
        let call = |guest: GuestInstance| guest.count(export, project);
        self.run(run, ExportCall::read_only(call_input), call, bindings::check_counts).await
    }

    /// Calls `plugin.check`. Writes are refused.
    pub async fn check(&self, run: RunInput) -> RunEnd<String> {
        let export = run.connector.loaded().plugin.clone();
        let call = |guest: GuestInstance| guest.check(export);
        let convert = |line: String, redact: Redact<'_>| Ok(redact(TextKind::ForPeople, line));
        let call_input = CallInput::without_arguments(Call::Check);
        self.run(run, ExportCall::read_only(call_input), call, convert).await
    }
}
