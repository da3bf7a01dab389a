//! Measures each step of one call into a guest, for the benchmark `guest_call`. The engine and the
//! instance are created as in the server, but the call needs no permit and has no deadline. The
//! server never uses this module, because the module compiles in the process that calls it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmtime::CallHook;

use crate::domain::{CompileFor, Limits, SystemClock};
use crate::egress::{ActiveConnection, Egress, OwnServer, Permission};
use crate::memory::{Account, HostMemory, MemoryOwner};

use super::component::LoadedComponent;
use super::engine::Engine;
use super::execution::Execution;
use super::guest::ImportData;
use super::instance::new_store;

/// The time of each part of a call.
#[derive(Debug, Clone, Copy, Default)]
pub struct CallTimes {
    /// The time to create the run's `RunRequests`, log, accounts and wasmtime store.
    pub prepare: Duration,
    /// The time to instantiate the component, including the start functions of its modules.
    pub instantiate: Duration,
    /// The time of the exported function, including the host functions that it calls.
    pub call: Duration,
    /// The part of `call` that was spent in host functions. Zero if host functions were not
    /// measured.
    pub host_calls: Duration,
    /// The time to free the instance and to collect the log, the calls and the usage of the run.
    pub drop: Duration,
}

/// A loaded component, and what is needed to call its export `kpis.count`.
pub struct MeasuredGuest {
    engine: Engine,
    egress: Arc<Egress>,
    memory: Arc<HostMemory>,
    active: Arc<ActiveConnection>,
    loaded: LoadedComponent,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl MeasuredGuest {
    /// Compiles a component into the file `code` of this folder, and loads the component.
    ///
    /// # Errors
    /// The component is not a connector, or a file cannot be written.
    pub fn compile(component: &[u8], folder: &Path) -> Result<Self, Failure> {
        let engine = Engine::start(CompileFor::ThisCpu)?;
        let code =
            Engine::for_compiling(engine.code_settings())?.precompile_component(component)?;
        std::fs::write(folder.join("code"), code)?;
        let loaded = engine.load(&folder.join("code"))?;
        let egress =
            Arc::new(Egress::new(None, folder.join("spool"), 1 << 30, OwnServer::default())?);
        let active = Arc::new(ActiveConnection::without_grants());
        Ok(Self { engine, egress, memory: HostMemory::new(1 << 30), active, loaded })
    }

    /// Maps the compiled code in this folder again, as the server does when it loads a file that
    /// was compiled before.
    ///
    /// # Errors
    /// The code cannot be mapped.
    pub fn load_again(&mut self, folder: &Path) -> Result<(), Failure> {
        self.loaded = self.engine.load(&folder.join("code"))?;
        Ok(())
    }

    /// Calls `kpis.count` once in a new instance. All requests of the guest are refused. If
    /// `measure_host_calls` is true, also measures the time in host functions, which makes the call
    /// slower, and replaces the hook that limits copied bytes.
    ///
    /// # Errors
    /// The component does not export `kpis`, or the call failed.
    pub async fn call(&self, measure_host_calls: bool) -> Result<CallTimes, Failure> {
        let export = self.loaded.kpis.as_ref().ok_or("the component does not export `kpis`")?;
        let start = Instant::now();
        let limits = Limits::default();
        let connection = &self.active.connection;
        let owner =
            MemoryOwner { connector: connection.connector.clone(), connection: connection.id };
        let account = Account::open(&self.memory, owner, limits.memory_bytes)?;
        let (egress, active) = (Arc::clone(&self.egress), Arc::clone(&self.active));
        let clock = Arc::new(SystemClock);
        let (permission, input) = (Permission::Nothing, ImportData::default());
        let execution = Execution::start(egress, active, permission, None, limits, clock, account);
        let mut store =
            new_store(&self.engine, execution.new_guest(input), &limits, execution.meter());
        let host_timer = HostTimer::default();
        if measure_host_calls {
            store.call_hook(host_timer.hook());
        }
        let prepared = Instant::now();
        let instance = self.loaded.pre.instantiate_async(&mut store).await?;
        let instantiated = Instant::now();
        let guest = export.load(&mut store, &instance)?;
        guest.call_count(&mut store, "7b0c").await?.map_err(|error| format!("{error:?}"))?;
        let called = Instant::now();
        drop(store);
        execution.finish(false).await;
        Ok(CallTimes {
            prepare: prepared - start,
            instantiate: instantiated - prepared,
            call: called - instantiated,
            host_calls: host_timer.total(),
            drop: called.elapsed(),
        })
    }
}

/// Adds up the time that is spent in host functions, in nanoseconds.
#[derive(Default)]
struct HostTimer(Arc<AtomicU64>);

impl HostTimer {
    fn hook<T>(
        &self,
    ) -> impl FnMut(wasmtime::StoreContextMut<'_, T>, CallHook) -> wasmtime::Result<()> + 'static
    {
        let total_ns = Arc::clone(&self.0);
        let mut called_at = Instant::now();
        move |_, hook| {
            match hook {
                CallHook::CallingHost => called_at = Instant::now(),
                CallHook::ReturningFromHost => {
                    let nanoseconds = called_at.elapsed().as_nanos();
                    total_ns.fetch_add(u64::try_from(nanoseconds).unwrap_or(0), Ordering::Relaxed);
                }
                CallHook::CallingWasm | CallHook::ReturningFromWasm => {}
            }
            Ok(())
        }
    }

    fn total(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
