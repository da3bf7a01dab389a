//! Everything that a guest may import: one file per interface of the contract, and WASI.
//!
//! An import that is not linked here does not exist for a guest: its component is refused when it
//! is loaded. No import reaches the tracker except through the run's
//! [`crate::egress::RunRequests`].

mod http;
mod log;
mod report;
mod script;
mod settings;
mod test_manager;
mod wasi;

#[cfg(fuzzing)]
pub(crate) use http::address;

use wasmtime::component::{HasData, Linker};

use super::bindings;
use super::guest::Guest;

/// Tells the generated bindings that [`Guest`] implements the imports.
struct ImportsOfGuest;

impl HasData for ImportsOfGuest {
    type Data<'a> = &'a mut Guest;
}

/// Links the contract's interfaces, and the interfaces of WASI 0.2 that language runtimes need.
pub(super) fn linker(engine: &wasmtime::Engine) -> Result<Linker<Guest>, wasmtime::Error> {
    let mut linker = Linker::new(engine);
    bindings::settings::add_to_linker::<_, ImportsOfGuest>(&mut linker, |guest| guest)?;
    bindings::http::add_to_linker::<_, ImportsOfGuest>(&mut linker, |guest| guest)?;
    bindings::log::add_to_linker::<_, ImportsOfGuest>(&mut linker, |guest| guest)?;
    bindings::report::add_to_linker::<_, ImportsOfGuest>(&mut linker, |guest| guest)?;
    bindings::test_manager::add_to_linker::<_, ImportsOfGuest>(&mut linker, |guest| guest)?;
    wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// Adds what only the runner of scripts may import.
pub(super) fn linker_of_scripts(linker: &Linker<Guest>) -> Result<Linker<Guest>, wasmtime::Error> {
    let mut linker = linker.clone();
    bindings::source::add_to_linker::<_, ImportsOfGuest>(&mut linker, |guest| guest)?;
    Ok(linker)
}
