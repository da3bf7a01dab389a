//! Jackfield receives the webhooks of UiPath Test Manager and answers them by running a sandboxed
//! connector. ARCHITECTURE.md calls the modules below rooms, and has a drawing of them.
//!
//! Each group of modules below except `fuzz` is a layer, the lowest layer first. A room imports
//! only rooms of its own layer or of lower layers, and never in a circle.

pub mod config;
pub mod domain;
pub mod secret;

mod completion;
mod cpu_time;
mod json;
mod memory;

mod redact;
pub mod telemetry;
pub mod transport;

pub mod egress;
pub mod manifest;
pub mod report;

pub mod oidc;
pub mod runtime;
pub mod store;
pub mod testmanager;

pub mod history;
pub mod plugins;

pub mod accounts;
pub mod connections;

pub mod defects;
pub mod kpis;
pub mod replay;

pub mod api;

pub mod http;

mod console;

pub mod app;
pub mod demo;
pub mod simulator;

pub mod conformance;

pub mod cli;

#[cfg(fuzzing)]
pub mod fuzz;
