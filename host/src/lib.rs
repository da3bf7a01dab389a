//! Jackfield: receives the webhooks of UiPath Test Manager and answers them by running a sandboxed
//! connector. ARCHITECTURE.md draws the map; the modules below are its rooms, highest layer last.
//!
//! A module imports only from modules above it in this list.

pub mod domain;

pub mod config;
pub mod secret;

pub mod connector;
pub mod store;

pub mod dispatch;

pub mod http;

pub mod app;

pub mod cli;

#[cfg(fuzzing)]
pub mod fuzz;
