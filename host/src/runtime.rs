//! Runs connectors. Contains the engine, the compiler process, the sandbox in which each run is
//! executed, and the functions that a guest imports.
//!
//! No other module uses wasmtime. This module never uses the room `store`.

mod address_space;
mod answer_json;
mod bindings;
mod call_input;
mod compile;
mod component;
mod engine;
mod error;
mod exception;
mod executable_check;
mod execution;
mod failure_cause;
mod guest;
mod imports;
mod instance;
mod limiter;
mod measure;
mod memory_journal;
mod permits;
mod poll_permits;
mod pool;
mod run_log;
mod sandbox;
mod script;
mod stdio;
mod test_report;
mod unsupported;
mod wasi_http;

pub use address_space::{AddressSpace, MemoryLayout};
pub use answer_json::{AnswerJson, outcome_json};
pub(crate) use compile::{CompileLimits, CompiledFiles, Compiler, check_magic_bytes};
pub use compile::{SUBCOMMAND as COMPILE_SUBCOMMAND, compile_component_child};
pub use component::{Connector, Interfaces};
pub(crate) use component::{LoadedComponent, Version};
pub(crate) use engine::Engine;
pub use engine::WASMTIME_VERSION;
pub(crate) use error::shortened;
pub use error::{CompileError, EngineError, LoadError, MemoryBound, WrongFile};
pub(crate) use executable_check::{CannotRun, check_executable};
#[cfg(fuzzing)]
pub(crate) use imports::build_request_address;
pub use measure::{CallTimes, MeasuredGuest};
pub use memory_journal::MemoryJournal;
pub use sandbox::{CallArguments, ReturnedValue, RunEnd, RunInput, Sandbox};
pub(crate) use script::{PrepareError, RUNNER, Script, ScriptRunner};
pub use test_report::TestReport;
