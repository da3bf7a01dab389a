//! The engine: one per process, with its settings, its ticker, and what guests may import.
//!
//! Compiled code comes from the compiling child and is only mapped here; this file never compiles
//! for the server and never runs a guest.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi_http::WasiHttp as WasiHttpData;

use super::bindings::{defects, http, kpis, log, plugin, settings};
use super::guest::{Guest, GuestData};
use super::limiter::TABLE_ELEMENTS_MAX;
use super::meter::Ticks;
use super::registry::Interfaces;

/// How often busy guests give their turn away.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Linear memories and tables that may be in use at once, in the whole host.
const POOL_SLOTS: u32 = 1_000;
/// Slots that keep their pages for the component that used them last, so that its next run is cheap. More
/// of them would hold the memory of every version that was ever replaced.
const WARM_SLOTS: u32 = 32;
/// A guest's own stack.
pub(super) const STACK_BYTES: usize = 512 << 10;
/// The most that one linear memory can grow to, whatever a run's limit says.
const POOL_MEMORY_BYTES: usize = 1 << 30;
/// Bytes of a memory or table that stay mapped between runs: resetting them is cheaper than paging.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;

/// One engine, its linker, and the name of its compiled code.
pub(crate) struct Engine {
    engine: wasmtime::Engine,
    linker: Linker<Guest>,
    fingerprint: String,
    ticks: Arc<Ticks>,
}

/// A component ready to be instantiated, and where its exports are.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) pre: InstancePre<Guest>,
    pub(super) plugin: plugin::GuestIndices,
    pub(super) defects: Option<defects::GuestIndices>,
    pub(super) kpis: Option<kpis::GuestIndices>,
}

impl Loaded {
    /// What it can do, read from the names of its exported interfaces.
    pub(super) fn interfaces(&self) -> Interfaces {
        Interfaces { defects: self.defects.is_some(), kpis: self.kpis.is_some() }
    }
}

impl Engine {
    /// Starts the engine and its ticker thread; the thread ends with the engine.
    ///
    /// # Errors
    /// The machine cannot give the address space, or a setting does not fit it.
    pub(crate) fn start() -> Result<Self, wasmtime::Error> {
        let mut config = code_settings();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        let engine = wasmtime::Engine::new(&config)?;
        let linker = imports(&engine)?;
        let ticks = Arc::<Ticks>::default();
        tick(&engine, Arc::clone(&ticks));
        let fingerprint = fingerprint(&engine);
        Ok(Self { engine, linker, fingerprint, ticks })
    }

    /// An engine for the compiling child: the same code, no pool.
    ///
    /// # Errors
    /// A setting does not fit the machine.
    pub(crate) fn compiling() -> Result<wasmtime::Engine, wasmtime::Error> {
        wasmtime::Engine::new(&code_settings())
    }

    /// Names engine version and settings: compiled code of another fingerprint is never loaded.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The ticks so far.
    pub(super) fn ticks(&self) -> Arc<Ticks> {
        Arc::clone(&self.ticks)
    }

    pub(super) fn inner(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// Maps compiled code from the cache folder and links it.
    ///
    /// # Errors
    /// Says in words why this is no connector.
    pub(super) fn load(&self, compiled: &Path) -> Result<Loaded, String> {
        #[expect(
            unsafe_code,
            reason = "maps code that our own child compiled; see the cache folder"
        )]
        // SAFETY: the file comes from the cache folder, which only this user may write (checked
        // when it was opened) and into which only the compiling child's output is renamed.
        let component = unsafe { Component::deserialize_file(&self.engine, compiled) }
            .map_err(|error| format!("its compiled code cannot be mapped: {error:#}"))?;
        let pre = self
            .linker
            .instantiate_pre(&component)
            .map_err(|error| format!("it asks for what no connector gets: {error:#}"))?;
        let plugin = plugin::GuestIndices::new(&pre).map_err(|_| {
            "it is a component of another world: it does not export \
             `jackfield:connector/plugin@0.1.0`"
                .to_owned()
        })?;
        let defects = defects::GuestIndices::new(&pre).ok();
        let kpis = kpis::GuestIndices::new(&pre).ok();
        if defects.is_none() && kpis.is_none() {
            return Err(
                "it exports neither `defects` nor `kpis` of `jackfield:connector@0.1.0`".to_owned()
            );
        }
        Ok(Loaded { pre, plugin, defects, kpis })
    }
}

/// The settings that decide about compiled code; parent and child must agree on all of them.
fn code_settings() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(2 << 20);
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(POOL_SLOTS)
        .total_tables(POOL_SLOTS)
        .total_stacks(POOL_SLOTS)
        .total_core_instances(POOL_SLOTS * 50)
        .total_component_instances(POOL_SLOTS)
        .max_unused_warm_slots(WARM_SLOTS)
        .max_memory_size(POOL_MEMORY_BYTES)
        .max_memories_per_module(8)
        .max_tables_per_module(8)
        .table_elements(TABLE_ELEMENTS_MAX)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Everything that a guest may import: the contract, and of WASI what language runtimes need.
fn imports(engine: &wasmtime::Engine) -> Result<Linker<Guest>, wasmtime::Error> {
    let mut linker = Linker::new(engine);
    settings::add_to_linker::<_, GuestData>(&mut linker, |guest| guest)?;
    http::add_to_linker::<_, GuestData>(&mut linker, |guest| guest)?;
    log::add_to_linker::<_, GuestData>(&mut linker, |guest| guest)?;
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::bindings::http::outgoing_handler::add_to_linker::<_, WasiHttpData>(
        &mut linker,
        wasmtime_wasi_http::WasiHttpView::http,
    )?;
    wasmtime_wasi_http::p2::bindings::http::types::add_to_linker::<_, WasiHttpData>(
        &mut linker,
        &wasmtime_wasi_http::p2::bindings::LinkOptions::default().into(),
        wasmtime_wasi_http::WasiHttpView::http,
    )?;
    Ok(linker)
}

/// Advances the epoch, and counts it, for as long as the engine lives.
fn tick(engine: &wasmtime::Engine, ticks: Arc<Ticks>) {
    let weak = engine.weak();
    // A thread, not a task: it must go on while every worker is busy with a guest.
    let ticker = std::thread::Builder::new().name("ticker".to_owned());
    let spawned = ticker.spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            ticks.note();
            drop(engine);
            std::thread::sleep(TICK);
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "the ticker thread did not start: busy guests are not interrupted");
    }
}

fn fingerprint(engine: &wasmtime::Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
