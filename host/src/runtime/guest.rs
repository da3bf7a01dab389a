//! The host's state of one run: what the guest's imports work on.
//!
//! It is in the run's store and is dropped with it. `imports/` implements the interfaces on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi_http::WasiHttpCtx;

use crate::domain::LogLevel;
use crate::egress::Session;

use super::limiter::Limiter;
use super::run_log::RunLog;
use super::stdio::LogStream;
use super::wasi_http::WasiHttp;

/// Most random bytes that a guest may ask for at once.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// The data of a run's store.
pub(super) struct Guest {
    pub(super) session: Arc<Session>,
    pub(super) log: Arc<RunLog>,
    pub(super) limiter: Limiter,
    /// The highest number of handles seen by [`Guest::record_handles`].
    handles_peak: Arc<AtomicU64>,
    pub(super) table: ResourceTable,
    pub(super) wasi: WasiCtx,
    pub(super) wasi_http: WasiHttpCtx,
    pub(super) wasi_http_hooks: WasiHttp,
}

impl Guest {
    /// No folder, no environment, no arguments, no sockets; stdout and stderr go to `log`.
    pub(super) fn new(
        session: Arc<Session>,
        log: Arc<RunLog>,
        limiter: Limiter,
        handles_peak: Arc<AtomicU64>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limiter.handles_max()).unwrap_or(usize::MAX));
        let stream = |level| LogStream { log: Arc::clone(&log), level };
        let wasi = WasiCtx::builder()
            .stdout(stream(LogLevel::Info))
            .stderr(stream(LogLevel::Warn))
            .max_random_size(RANDOM_BYTES_MAX)
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        Self {
            wasi_http_hooks: WasiHttp::new(Arc::clone(&session)),
            session,
            log,
            limiter,
            handles_peak,
            table,
            wasi,
            wasi_http: WasiHttpCtx::new(),
        }
    }

    /// Counts the handles that the guest has now.
    pub(super) fn record_handles(&mut self) {
        self.handles_peak.fetch_max(self.table.iter_mut().count() as u64, Ordering::Relaxed);
    }
}
