//! Runs connectors: the engine, the compiler process, one sandbox per run, and the functions that a guest
//! imports.
//!
//! The only room with wasmtime. It never uses the store: what must be durable before a write is sent
//! goes through [`crate::domain::Journal`].

mod bindings;
mod compile;
mod component;
mod engine;
mod error;
mod execution;
mod guest;
mod imports;
mod instance;
mod limiter;
mod permits;
mod pool;
mod run_log;
mod sandbox;
mod stdio;
mod turns;
mod wasi_http;

pub(crate) use compile::{CompiledFiles, compile};
pub use compile::{SUBCOMMAND as COMPILE_SUBCOMMAND, compile_component_child};
pub(crate) use component::Version;
pub use component::{Connector, Interfaces};
pub(crate) use engine::Engine;
pub use engine::WASMTIME_VERSION;
pub(crate) use error::shortened;
pub use error::{CompileError, EngineError, LoadError, WrongFile};
pub use sandbox::{Run, RunEnd, Sandbox};
