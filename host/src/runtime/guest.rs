//! Contains the state of one run that the imported functions use. The run's wasmtime store owns
//! this state, so the state is never used by two runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView};
use wasmtime_wasi_http::WasiHttpCtx;
use wasmtime_wasi_http::p2::bindings::http::types::Method;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

use crate::egress::RunRequests;
use crate::memory::Charge;

use super::limiter::{Limiter, memory_error};
use super::run_log::{RunLog, STDERR, STDOUT};
use super::script::RunScript;
use super::stdio::LogStream;
use super::test_report::TestReport;
use super::wasi_http::WasiHttp;

/// Maximum number of random bytes that one call may return to a guest.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// Maximum number of bytes that one call of a host function copies out of the guest, in addition to
/// the body of a request.
const HOST_CALL_BYTES_MAX: u64 = 4 << 20;
/// The size that all `wasi:http` header lists of a guest together should not exceed, bytes.
const HEADER_LISTS_BYTES_MAX: u64 = 16 << 20;

/// Returns the maximum size of one header list, 1 to 32 KiB, if a guest may have this number of
/// handles. Up to 16,384 handles, all lists together do not exceed [`HEADER_LISTS_BYTES_MAX`].
fn header_list_bytes_max(handles: u64) -> usize {
    usize::try_from(HEADER_LISTS_BYTES_MAX / handles.max(1))
        .unwrap_or(usize::MAX)
        .clamp(1 << 10, 32 << 10)
}

/// Returns the size of the method, path and authority of a request that the guest prepares. Headers
/// have their own limit.
fn request_text_bytes(request: &HostOutgoingRequest) -> u64 {
    let method = match &request.method {
        Method::Other(method) => method.len(),
        _ => 0,
    };
    let texts = [&request.path_with_query, &request.authority].into_iter().flatten();
    (method + texts.map(String::len).sum::<usize>()) as u64
}

#[derive(Default)]
pub(super) struct ImportData {
    /// For each setting that is an origin, its address: the entered one, or else the manifest's
    /// fallback. The key is the name of the setting.
    pub(super) base_addresses: BTreeMap<String, String>,
    /// The report of the failed test, if the call has one.
    pub(super) report: Option<Arc<TestReport>>,
    /// The script that the guest evaluates, if the guest is the runner of scripts.
    pub(super) script: Option<RunScript>,
}

/// The data of a run's wasmtime store.
pub(super) struct Guest {
    pub(super) requests: Arc<RunRequests>,
    pub(super) log: Arc<RunLog>,
    pub(super) limiter: Limiter,
    handles_peak: Arc<AtomicU64>,
    pub(super) table: ResourceTable,
    /// Created when the guest first uses WASI, because many guests never use it, and making its
    /// random number generators needs system calls.
    wasi: Option<WasiCtx>,
    pub(super) wasi_http: WasiHttpCtx,
    pub(super) wasi_http_hooks: WasiHttp,
    /// The charge for the texts of `wasi:http` requests that the guest has not sent yet.
    unsent_requests_charge: Charge,
    /// The charge for the data that the current call of a host function returns. The charge ends
    /// when the data is in the guest's memory.
    pub(super) returned_charge: Option<Charge>,
    pub(super) input: ImportData,
}

impl Guest {
    pub(super) fn new(
        requests: Arc<RunRequests>,
        log: Arc<RunLog>,
        limiter: Limiter,
        unsent_requests_charge: Charge,
        handles_peak: Arc<AtomicU64>,
        input: ImportData,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limiter.handles_max()).unwrap_or(usize::MAX));
        let mut wasi_http = WasiHttpCtx::new();
        wasi_http.set_field_size_limit(header_list_bytes_max(limiter.handles_max()));
        Self {
            wasi_http_hooks: WasiHttp::new(Arc::clone(&requests)),
            requests,
            log,
            limiter,
            handles_peak,
            table,
            wasi: None,
            wasi_http,
            unsent_requests_charge,
            returned_charge: None,
            input,
        }
    }

    /// The guest gets no folder, environment, arguments or usable sockets. Its stdout and stderr
    /// are added to the log.
    pub(super) fn wasi(&mut self) -> WasiCtxView<'_> {
        let log = &self.log;
        let ctx = self.wasi.get_or_insert_with(|| {
            let stream = |level| LogStream { log: Arc::clone(log), level };
            WasiCtx::builder()
                .stdout(stream(STDOUT))
                .stderr(stream(STDERR))
                .max_random_size(RANDOM_BYTES_MAX)
                .allow_tcp(false)
                .allow_udp(false)
                .build()
        });
        WasiCtxView { ctx, table: &mut self.table }
    }

    /// Returns how many bytes one call of a host function may copy from the guest: the body of a
    /// request, which may not be larger than the memory that the run has left, and the other
    /// arguments.
    pub(super) fn call_bytes_max(&self) -> usize {
        let body_bytes = self.requests.limits().request_body_bytes;
        let body_bytes = body_bytes.min(self.requests.memory().bytes_left());
        usize::try_from(body_bytes.saturating_add(HOST_CALL_BYTES_MAX)).unwrap_or(usize::MAX)
    }

    /// Updates the charges after each call of a host function. The data that the function returned
    /// is now in the guest's memory, so its charge ends. The requests that the guest has not sent
    /// yet are charged.
    pub(super) fn update_charges(&mut self) -> wasmtime::Result<()> {
        self.returned_charge = None;
        let unsent_requests = self.table.iter_mut().filter_map(|entry| entry.downcast_ref());
        let bytes = unsent_requests.map(request_text_bytes).sum();
        self.unsent_requests_charge.set(bytes).map_err(memory_error)
    }

    pub(super) fn record_handles(&mut self) {
        self.handles_peak.fetch_max(self.table.iter_mut().count() as u64, Ordering::Relaxed);
    }
}
