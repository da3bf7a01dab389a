//! Starts the wasmtime engine of the process, with its settings, its ticker thread and its linkers.
//! Never compiles in the server's process and never runs a guest.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, Linker};
use wasmtime::{Config, InstanceAllocationStrategy};

use crate::cpu_time::Ticks;
use crate::domain::CompileFor;

use super::address_space::{self, AddressSpace, MemoryLayout};
use super::component::LoadedComponent;
use super::error::{EngineError, LoadError};
use super::guest::Guest;
use super::imports;
use super::pool;
use super::script::ScriptRunner;
use super::unsupported::unsupported_import;

/// The version of wasmtime in this program, from Cargo.lock.
pub const WASMTIME_VERSION: &str = env!("WASMTIME_VERSION");

/// The target for which this program is compiled. Code that is compiled for it uses only the base
/// instruction set of the architecture.
const TARGET: &str = env!("TARGET");

/// The time between two ticks of the engine. A guest that computes lets other guests run at each
/// tick.
const TICK_PERIOD: Duration = Duration::from_millis(10);

/// The size of the stack of a guest's own functions.
pub(super) const STACK_BYTES: usize = 512 << 10;
/// The size of the stack for the guest's functions and for the host functions that they call.
const ASYNC_STACK_BYTES: usize = 2 << 20;

/// The settings that the compiler process and the server must share, so that the server can run the
/// compiled code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CodeSettings {
    pub(super) layout: MemoryLayout,
    pub(super) compile_for: CompileFor,
}

pub(crate) struct Engine {
    engine: wasmtime::Engine,
    address_space: AddressSpace,
    compile_for: CompileFor,
    linker: Linker<Guest>,
    /// Links the runner of scripts.
    script_linker: Linker<Guest>,
    fingerprint: String,
    ticks: Arc<Ticks>,
}

impl Engine {
    /// Starts the engine and its ticker thread. The thread ends after the engine is dropped.
    pub(crate) fn start(compile_for: CompileFor) -> Result<Self, EngineError> {
        let (engine, address_space) = start_with_largest_pool(compile_for)?;
        let linker = imports::build_linker(&engine).map_err(EngineError)?;
        let script_linker = imports::build_script_linker(&linker).map_err(EngineError)?;
        let ticks = Arc::<Ticks>::default();
        start_ticker(&engine, Arc::clone(&ticks));
        let fingerprint = compute_fingerprint(&engine);
        Ok(Self { engine, address_space, compile_for, linker, script_linker, fingerprint, ticks })
    }

    /// Creates an engine without a pool (`pool.rs`).
    pub(super) fn for_compiling(settings: CodeSettings) -> Result<wasmtime::Engine, EngineError> {
        wasmtime::Engine::new(&engine_config(settings)?).map_err(EngineError)
    }

    pub(crate) fn address_space(&self) -> AddressSpace {
        self.address_space
    }

    pub(super) fn code_settings(&self) -> CodeSettings {
        CodeSettings { layout: self.address_space.layout, compile_for: self.compile_for }
    }

    /// Returns the fingerprint of the engine's version and settings. Compiled code with another
    /// fingerprint must not be loaded.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn ticks(&self) -> Arc<Ticks> {
        Arc::clone(&self.ticks)
    }

    pub(super) fn wasmtime_engine(&self) -> &wasmtime::Engine {
        &self.engine
    }

    /// Maps and links compiled code, which this program must have compiled.
    pub(crate) fn load(&self, compiled: &Path) -> Result<LoadedComponent, LoadError> {
        let component = self.map_code(compiled)?;
        match self.linker.instantiate_pre(&component) {
            Ok(pre) => LoadedComponent::new(pre),
            Err(error) => Err(self.link_error(&component, error)),
        }
    }

    /// Maps and links the compiled code of the runner of scripts, which this program must have
    /// compiled.
    pub(crate) fn load_runner(&self, compiled: &Path) -> Result<ScriptRunner, LoadError> {
        let component = self.map_code(compiled)?;
        let pre = self.script_linker.instantiate_pre(&component);
        ScriptRunner::new(pre.map_err(LoadError::Link)?)
    }

    fn map_code(&self, compiled: &Path) -> Result<Component, LoadError> {
        #[expect(
            unsafe_code,
            reason = "maps code that our own child process compiled; see the cache folder"
        )]
        // SAFETY: in the server, the file comes from the cache folder. Users outside the folder's
        // group cannot write to that folder (checked when it is opened, if its file system stores
        // modes). Only the output of the compiler process is stored there as code, and a version is
        // used again only if the digest of its file equals the digest that was sealed when the file
        // was stored.
        unsafe { Component::deserialize_file(&self.engine, compiled) }.map_err(LoadError::Map)
    }

    fn link_error(&self, component: &Component, source: wasmtime::Error) -> LoadError {
        let (kind, text) = (component.component_type(), format!("{source:#}"));
        let mut imports = kind.imports(&self.engine).map(|(name, _)| name);
        let Some(name) = imports.find(|name| text.contains(&format!("`{name}`"))) else {
            return LoadError::Link(source);
        };
        let export =
            text.split_once("instance export `").and_then(|(_, after)| after.split_once('`'));
        LoadError::UnknownImport {
            name: name.to_owned(),
            function: export.map(|(function, _)| function.to_owned()),
            advice: unsupported_import(name).advice(),
        }
    }
}

/// Starts the engine with the largest pool that fits into the address space. If no pool fits,
/// starts the engine without a pool.
fn start_with_largest_pool(
    compile_for: CompileFor,
) -> Result<(wasmtime::Engine, AddressSpace), EngineError> {
    for slots in pool::SLOT_COUNTS {
        let mut config =
            engine_config(CodeSettings { layout: MemoryLayout::Reserved, compile_for })?;
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool::pool_config(slots)));
        // A failure probably means that the address space is too small for this pool. If a setting
        // is the cause, the engine without a pool, below, fails too and reports the error.
        if let Ok(engine) = wasmtime::Engine::new(&config)
            && address_space::has_free_address_space(0)
        {
            return Ok((engine, AddressSpace { slots, layout: MemoryLayout::Reserved }));
        }
    }
    let settings = CodeSettings { layout: MemoryLayout::OnDemand, compile_for };
    let engine = Engine::for_compiling(settings)?;
    Ok((engine, AddressSpace::on_demand(pool::SLOT_COUNTS[0])))
}

fn engine_config(settings: CodeSettings) -> Result<Config, EngineError> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .wasm_component_model(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(ASYNC_STACK_BYTES);
    if settings.compile_for == CompileFor::AnyCpu {
        config.target(TARGET).map_err(EngineError)?;
    }
    if settings.layout == MemoryLayout::OnDemand {
        // A memory that grows beyond its reserved address space is moved.
        config.memory_reservation(address_space::ON_DEMAND_MEMORY_BYTES).memory_guard_size(0);
        config
            .memory_reservation_for_growth(address_space::GROWTH_RESERVE_BYTES)
            .guard_before_linear_memory(false);
    }
    Ok(config)
}

fn start_ticker(engine: &wasmtime::Engine, ticks: Arc<Ticks>) {
    let weak = engine.weak();
    // The ticker is a thread and not a task, so that it runs even while every worker thread of the
    // async runtime polls a guest.
    let ticker = std::thread::Builder::new().name("ticker".to_owned());
    let spawned = ticker.spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            ticks.count_tick();
            drop(engine);
            std::thread::sleep(TICK_PERIOD);
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "cannot start the ticker thread: guests that compute are not interrupted");
    }
}

fn compute_fingerprint(engine: &wasmtime::Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a component that imports one function `f` from an instance of this name.
    fn component_that_imports(name: &str) -> Vec<u8> {
        let mut component = b"\0asm\x0d\0\x01\0".to_vec();
        let instance_type = [1, 0x42, 2, 1, 0x40, 0, 1, 0, 4, 0, 1, b'f', 1, 0];
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
        component.extend([7, length(&instance_type)]);
        component.extend(instance_type);
        let import = [&[1, 0, length(name.as_bytes())], name.as_bytes(), &[5, 0]].concat();
        component.extend([10, length(&import)]);
        component.extend(import);
        component
    }

    #[test]
    fn the_error_names_an_import_that_the_host_does_not_provide() {
        let folder = tempfile::tempdir().unwrap();
        let compiled = folder.path().join("code.cwasm");
        let engine = Engine::start(CompileFor::ThisCpu).unwrap();
        let compiler = Engine::for_compiling(engine.code_settings()).unwrap();
        for name in ["wasi:sockets/tcp@0.3.0", "acme:tools/files@1.0.0"] {
            let code = compiler.precompile_component(&component_that_imports(name)).unwrap();
            std::fs::write(&compiled, code).unwrap();
            let error = engine.load(&compiled).err().unwrap().to_string();
            let text = format!("imports an interface that the host does not provide: {name}");
            assert!(error.starts_with(&text), "{error}");
        }
    }
}
