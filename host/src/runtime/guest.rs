//! The state that the host keeps for one run, on which the guest's imports work.
//!
//! It is stored in the run's wasmtime store and dropped with it. The files in `imports/` implement
//! the imported interfaces for it.

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

/// Maximum number of random bytes that a guest may ask for at once.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// Maximum number of bytes that one call copies out of the guest, without a request's body.
const CALL_BYTES: u64 = 4 << 20;
/// Maximum size of all header lists of `wasi:http` that a guest holds, bytes.
const FIELDS_BYTES: u64 = 16 << 20;

/// The largest size of one header list: even if all handles are header lists, they stay below
/// [`FIELDS_BYTES`] together.
fn field_bytes_max(handles: u64) -> usize {
    usize::try_from(FIELDS_BYTES / handles.max(1)).unwrap_or(usize::MAX).clamp(1 << 10, 32 << 10)
}

/// The size of the texts of a request that the guest prepares. Its headers have their own limit.
fn request_bytes(request: &HostOutgoingRequest) -> u64 {
    let method = match &request.method {
        Method::Other(method) => method.len(),
        _ => 0,
    };
    let texts = [&request.path_with_query, &request.authority].into_iter().flatten();
    (method + texts.map(String::len).sum::<usize>()) as u64
}

/// The input that the guest's imports read.
#[derive(Default)]
pub(super) struct GuestInput {
    /// The connection's settings that are origins, with their addresses.
    pub(super) bases: BTreeMap<String, String>,
    /// The report of the failed test; only in `create`, `comment` and `attach`.
    pub(super) report: Option<Arc<TestReport>>,
    /// The script that the guest evaluates, if the guest is the runner of scripts.
    pub(super) script: Option<RunScript>,
}

/// The data of a run's wasmtime store.
pub(super) struct Guest {
    pub(super) session: Arc<RunRequests>,
    pub(super) log: Arc<RunLog>,
    pub(super) limiter: Limiter,
    /// The highest number of handles seen by [`Guest::record_handles`].
    handles_peak: Arc<AtomicU64>,
    pub(super) table: ResourceTable,
    /// Made when the guest first uses WASI: many never do, and its random numbers cost system
    /// calls.
    wasi: Option<WasiCtx>,
    pub(super) wasi_http: WasiHttpCtx,
    pub(super) wasi_http_hooks: WasiHttp,
    /// Charges the texts of the guest's unsent `wasi:http` requests.
    requests: Charge,
    /// Charges the body that the current call of `http` returns, until it is in the guest's memory.
    pub(super) returned: Option<Charge>,
    pub(super) input: GuestInput,
}

impl Guest {
    pub(super) fn new(
        session: Arc<RunRequests>,
        log: Arc<RunLog>,
        limiter: Limiter,
        requests: Charge,
        handles_peak: Arc<AtomicU64>,
        input: GuestInput,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limiter.handles_max()).unwrap_or(usize::MAX));
        let mut wasi_http = WasiHttpCtx::new();
        wasi_http.set_field_size_limit(field_bytes_max(limiter.handles_max()));
        Self {
            wasi_http_hooks: WasiHttp::new(Arc::clone(&session)),
            session,
            log,
            limiter,
            handles_peak,
            table,
            wasi: None,
            wasi_http,
            requests,
            returned: None,
            input,
        }
    }

    /// WASI and the handles of the guest. It gets no folder, environment, arguments or sockets;
    /// stdout and stderr go to the log.
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

    /// How many bytes the host may copy from the guest in one call: a request's body, as far as the
    /// run's memory allows, and the other arguments.
    pub(super) fn call_bytes_max(&self) -> usize {
        let request = self.session.limits().request_body_bytes;
        let room = request.min(self.session.memory().room());
        usize::try_from(room.saturating_add(CALL_BYTES)).unwrap_or(usize::MAX)
    }

    /// Call it after each call of a host function. What the function returned is now in the guest's
    /// memory, so its charge ends. What the host keeps for the guest is charged.
    ///
    /// # Errors
    /// The run does not have enough memory left.
    pub(super) fn update_charges(&mut self) -> wasmtime::Result<()> {
        self.returned = None;
        let requests = self.table.iter_mut().filter_map(|entry| entry.downcast_ref());
        let kept = requests.map(request_bytes).sum();
        self.requests.set(kept).map_err(memory_error)
    }

    /// Records how many handles the guest has now.
    pub(super) fn record_handles(&mut self) {
        self.handles_peak.fetch_max(self.table.iter_mut().count() as u64, Ordering::Relaxed);
    }
}
