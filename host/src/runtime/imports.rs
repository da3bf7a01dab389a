//! Links all interfaces that a guest may import. A component with any other import is refused when
//! it is loaded. Imported functions never send a request to the tracker themselves: the run's
//! [`crate::egress::RunRequests`] sends it.

mod http;
mod log;
mod report;
mod script;
mod settings;
mod test_manager;
mod wasi;

#[cfg(fuzzing)]
pub(crate) use http::build_request_address;

use wasmtime::component::{HasData, Linker};

use super::bindings;
use super::guest::Guest;

/// Tells the generated bindings that [`Guest`] implements the imports.
struct GuestImports;

impl HasData for GuestImports {
    type Data<'a> = &'a mut Guest;
}

/// Builds a linker with the interfaces of the contract, and with the interfaces of WASI 0.2 that
/// language runtimes need.
pub(super) fn build_linker(engine: &wasmtime::Engine) -> Result<Linker<Guest>, wasmtime::Error> {
    let mut linker = Linker::new(engine);
    bindings::settings::add_to_linker::<_, GuestImports>(&mut linker, |guest| guest)?;
    bindings::http::add_to_linker::<_, GuestImports>(&mut linker, |guest| guest)?;
    bindings::log::add_to_linker::<_, GuestImports>(&mut linker, |guest| guest)?;
    bindings::report::add_to_linker::<_, GuestImports>(&mut linker, |guest| guest)?;
    bindings::test_manager::add_to_linker::<_, GuestImports>(&mut linker, |guest| guest)?;
    wasi::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// Copies the linker, and adds the interface that only the runner of scripts may import.
pub(super) fn build_script_linker(
    linker: &Linker<Guest>,
) -> Result<Linker<Guest>, wasmtime::Error> {
    let mut linker = linker.clone();
    bindings::source::add_to_linker::<_, GuestImports>(&mut linker, |guest| guest)?;
    Ok(linker)
}
