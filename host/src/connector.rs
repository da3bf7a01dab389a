//! Runs connectors: compiles and keeps them, confines each run, and carries out its requests.
//!
//! The only room with wasmtime and with outbound HTTP. Never meets the store: what must be durable
//! before a write goes through [`crate::domain::Journal`].

mod access;
mod bindings;
mod compile;
mod egress;
mod engine;
mod guest;
mod limiter;
mod manifest;
mod meter;
mod registry;
mod run_log;
mod sandbox;
mod wasi_http;
mod watch;

pub use access::Access;
pub use compile::{SUBCOMMAND as COMPILE_SUBCOMMAND, compile_component_child};
pub use egress::{Egress, ProbeStep, TrustError};
pub(crate) use engine::Engine;
pub use manifest::{InvalidManifest, Manifest, SettingsProblem};
pub(crate) use manifest::{covers, words};
pub(crate) use registry::check_file;
pub use registry::{
    CheckReport, Connector, ConnectorInfo, ConnectorStatus, Interfaces, Registry, RegistryError,
};
pub use sandbox::{Run, RunEnd, Sandbox};

#[cfg(fuzzing)]
pub(crate) use egress::{HttpError, Outbound, OutboundRequest, check_placeholders, place, target};
#[cfg(fuzzing)]
pub(crate) use manifest::RawManifest;
