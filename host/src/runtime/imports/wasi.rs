//! Links WASI 0.2: the interfaces that language runtimes need to start, and `wasi:http`.
//!
//! A guest never gets a folder, an environment variable or a connected socket (see
//! [`Guest::wasi`]).

use wasmtime::component::Linker;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::{LinkOptions, http};
use wasmtime_wasi_http::{WasiHttp, WasiHttpCtxView, WasiHttpView};

use crate::runtime::guest::Guest;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<(), wasmtime::Error> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    http::outgoing_handler::add_to_linker::<_, WasiHttp>(linker, WasiHttpView::http)?;
    let options = LinkOptions::default().into();
    http::types::add_to_linker::<_, WasiHttp>(linker, &options, WasiHttpView::http)
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi()
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.wasi_http_hooks,
            table: &mut self.table,
            ctx: &mut self.wasi_http,
        }
    }
}
