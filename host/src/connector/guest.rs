//! The host's side of one run: what the guest's imports answer, and the books kept of it.
//!
//! Lives in the run's store and dies with it. Never reaches the tracker itself: `http` and
//! `wasi:http` both hand their requests to the run's [`Session`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::time::Instant;
use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::domain::{LogLevel, SecretPlace};

use super::bindings::{http, log, settings};
use super::egress::Session;
use super::limiter::Limiter;
use super::run_log::RunLog;
use super::wasi_http::WasiHttp;

/// Most random bytes that a guest may ask for at once.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// What a run's store holds.
pub(super) struct Guest {
    session: Arc<Session>,
    log: Arc<RunLog>,
    pub(super) limiter: Limiter,
    /// The most that were held whenever it was looked.
    handles: Arc<AtomicU64>,
    table: ResourceTable,
    wasi: WasiCtx,
    wasi_http: WasiHttpCtx,
    wasi_http_hooks: WasiHttp,
}

/// Names [`Guest`] to the generated bindings.
pub(super) struct GuestData;

impl HasData for GuestData {
    type Data<'a> = &'a mut Guest;
}

impl Guest {
    pub(super) fn new(
        session: Arc<Session>,
        log: Arc<RunLog>,
        limiter: Limiter,
        handles: Arc<AtomicU64>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limiter.handles_max()).unwrap_or(usize::MAX));
        let wasi = WasiCtx::builder()
            .stdout(Output { log: log.clone(), level: LogLevel::Info })
            .stderr(Output { log: log.clone(), level: LogLevel::Warn })
            .max_random_size(RANDOM_BYTES_MAX)
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        Self {
            wasi_http_hooks: WasiHttp::new(session.clone()),
            session,
            log,
            limiter,
            handles,
            table,
            wasi,
            wasi_http: WasiHttpCtx::new(),
        }
    }

    /// Looks how many handles the guest holds now.
    pub(super) fn note_handles(&mut self) {
        self.handles.fetch_max(self.table.iter_mut().count() as u64, Ordering::Relaxed);
    }

    /// A setting as the guest sees it: a secret as its placeholder or not at all.
    fn setting(&self, key: &str) -> Option<serde_json::Value> {
        let access = self.session.access();
        if let Some(grant) = access.connection.grants.secrets.get(key) {
            return match grant.place {
                SecretPlace::Placeholder => access.placeholder(key).map(Into::into),
                _ => None,
            };
        }
        access.connection.settings.get(key).cloned()
    }
}

impl settings::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.setting(&key).map(|value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        }))
    }

    fn all(&mut self) -> wasmtime::Result<String> {
        let connection = &self.session.access().connection;
        let names = connection.settings.keys().chain(connection.grants.secrets.keys());
        let all: serde_json::Map<_, _> =
            names.filter_map(|name| Some((name.clone(), self.setting(name)?))).collect();
        Ok(serde_json::Value::Object(all).to_string())
    }
}

impl http::Host for Guest {
    async fn send(
        &mut self,
        request: http::Request,
    ) -> wasmtime::Result<Result<http::Response, http::HttpError>> {
        self.note_handles();
        Ok(self.session.send(request.into()).await.map(Into::into).map_err(Into::into))
    }
}

impl log::Host for Guest {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.log.line(level.into(), &message);
        Ok(())
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
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

/// A guest's stdout or stderr: lines of the run's log.
#[derive(Clone)]
struct Output {
    log: Arc<RunLog>,
    level: LogLevel,
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.log.output(self.level, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Milliseconds since an instant.
pub(super) fn ms_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
