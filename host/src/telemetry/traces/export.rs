//! Passes spans to OpenTelemetry's batch processor, whose thread sends them as JSON with OTLP over
//! HTTP.
//!
//! [`Exporter::send`] never waits: if the queue is full, the span is dropped. The processor does
//! not report dropped spans, so the free places in its queue are counted here.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter as Otlp, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor as _,
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, TryAcquireError};
use url::Url;
use uuid::Uuid;

use crate::secret::Secret;
use crate::transport::{TrustError, host_name};

use super::client::Client;

/// Maximum number of queued spans; further spans are dropped.
const QUEUE_SPANS_MAX: usize = 8_192;
/// Maximum number of spans in one request.
const BATCH_SPANS_MAX: usize = 512;
/// How long the exporting thread collects spans for one request, unless it has
/// [`BATCH_SPANS_MAX`] spans earlier.
const BATCH_WAIT: Duration = Duration::from_secs(2);
/// The time limit of a request to the collector.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of the export of traces.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// The address of the collector, with its path: `http://collector:4318/v1/traces`.
    pub endpoint: Url,
    /// Of the traces that no sender named, the share that is exported, from 0 to 1.
    pub sample_ratio: f64,
    /// The headers that each request to the collector contains.
    pub headers: Vec<(String, Secret)>,
    /// A PEM file with certificates that are trusted in addition to those of the system.
    pub extra_ca_file: Option<PathBuf>,
}

/// The reason why the export of traces cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file with certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The exporter cannot be built from the settings.
    #[error(transparent)]
    Settings(#[from] ExporterBuildError),
}

#[derive(Debug)]
pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    queue: Arc<QueueCapacity>,
}

#[derive(Debug)]
struct QueueCapacity {
    /// One permit for each free place in the queue.
    free_places: Semaphore,
    /// Whether spans were dropped. False again when more than half of the queue is free.
    is_dropping: AtomicBool,
}

/// Sends batches of spans to the collector, and counts the places that they leave free in the
/// queue.
#[derive(Debug)]
struct CountingExporter {
    otlp: Otlp,
    queue: Arc<QueueCapacity>,
    endpoint: Url,
    /// The reason why the last request failed. The client sets it, and `log_result` takes it.
    failure: Arc<Mutex<Option<String>>>,
    is_failing: AtomicBool,
}

impl Exporter {
    pub(super) fn start(settings: TraceSettings) -> Result<Self, TraceError> {
        let otlp = Otlp::builder().with_http().with_protocol(Protocol::HttpJson);
        let endpoint = settings.endpoint.clone();
        let otlp = otlp.with_endpoint(endpoint.as_str()).with_timeout(REQUEST_TIMEOUT);
        let client = Client::new(settings, REQUEST_TIMEOUT)?;
        let failure = client.failure();
        let mut otlp = otlp.with_http_client(client).build()?;
        otlp.set_resource(&server_resource());
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_SPANS_MAX)
            .with_max_export_batch_size(BATCH_SPANS_MAX)
            .with_scheduled_delay(BATCH_WAIT)
            .build();
        let free_places = Semaphore::new(QUEUE_SPANS_MAX);
        let queue = Arc::new(QueueCapacity { free_places, is_dropping: AtomicBool::default() });
        let is_failing = AtomicBool::default();
        let counting =
            CountingExporter { otlp, queue: Arc::clone(&queue), endpoint, failure, is_failing };
        Ok(Self { processor: BatchSpanProcessor::new(counting, config), queue })
    }

    /// Drops the span if the queue is full or the export has stopped.
    pub(super) fn send(&self, span: SpanData) {
        match self.queue.free_places.try_acquire() {
            Ok(place) => {
                place.forget();
                self.processor.on_end(span);
            }
            Err(TryAcquireError::NoPermits)
                if !self.queue.is_dropping.swap(true, Ordering::Relaxed) =>
            {
                tracing::warn!(
                    "the queue of spans is full, so traces are exported incompletely: the \
                     collector receives them too slowly; lower `traces.sample_ratio`"
                );
            }
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {}
        }
    }

    /// Exports the queued spans, and ends the exporting thread. Waits at most [`REQUEST_TIMEOUT`].
    pub(super) fn stop(&self) {
        self.queue.free_places.close();
        if let Err(error) = self.processor.shutdown_with_timeout(REQUEST_TIMEOUT) {
            tracing::warn!(%error, "the last spans may not be exported");
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // The start of the server may fail after the export began; then `stop` is not called.
        self.queue.free_places.close();
    }
}

impl Drop for CountingExporter {
    fn drop(&mut self) {
        // While the `Exporter` exists and was not stopped, only a failure ends its thread.
        if !self.queue.free_places.is_closed() {
            self.queue.free_places.close();
            tracing::error!(
                "the thread that exports traces has failed; no trace is exported until the server \
                 restarts"
            );
        }
    }
}

impl CountingExporter {
    /// Logs the first failure in a row, and the first success after a failure.
    fn log_result(&self) {
        let failure = self.failure.lock().take();
        let was_failing = self.is_failing.swap(failure.is_some(), Ordering::Relaxed);
        let endpoint = self.endpoint.as_str();
        match failure {
            Some(why) if !was_failing => {
                tracing::warn!(endpoint, why, "traces cannot be exported");
            }
            None if was_failing => tracing::info!(endpoint, "traces can be exported again"),
            Some(_) | None => {}
        }
    }
}

impl SpanExporter for CountingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let QueueCapacity { free_places, is_dropping } = &*self.queue;
        free_places.add_permits(batch.len());
        let is_half_free = free_places.available_permits() > QUEUE_SPANS_MAX / 2;
        if is_half_free && is_dropping.swap(false, Ordering::Relaxed) {
            tracing::info!("the queue of spans has free places again");
        }
        let exported = self.otlp.export(batch).await;
        self.log_result();
        exported
    }
}

fn server_resource() -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "jackfield"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
            KeyValue::new("host.name", host_name()),
            KeyValue::new("process.pid", i64::from(std::process::id())),
        ])
        .build()
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use jiff::Timestamp;
    use opentelemetry::trace::SpanKind;

    use super::super::EventTrace;
    use super::*;

    fn answer_requests(listener: &TcpListener) {
        for stream in listener.incoming() {
            let (mut stream, mut line, mut length) =
                (stream.map(BufReader::new).unwrap(), String::new(), 0);
            while stream.read_line(&mut line).unwrap() > 2 {
                let field = line.to_lowercase();
                let value = field.strip_prefix("content-length:").map(str::trim);
                length = value.map_or(length, |it| it.parse().unwrap());
                line.clear();
            }
            io::copy(&mut stream.by_ref().take(length), &mut io::sink()).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
            stream.get_mut().write_all(answer).unwrap();
        }
    }

    #[test]
    fn a_full_queue_drops_spans_until_the_collector_receives_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let settings =
            TraceSettings { endpoint, sample_ratio: 1.0, headers: Vec::new(), extra_ca_file: None };
        let exporter = Exporter::start(settings).unwrap();
        let trace = EventTrace { trace: 1, root: 1, sender: None };
        let now = Timestamp::UNIX_EPOCH;
        let is_dropping = || exporter.queue.is_dropping.load(Ordering::Relaxed);
        for _ in 0..QUEUE_SPANS_MAX {
            exporter.send(trace.child(SpanKind::Internal, "span", now, now));
        }
        assert!(!is_dropping());
        // At most one batch has left the queue, because no server answers its request.
        for _ in 0..=BATCH_SPANS_MAX {
            exporter.send(trace.child(SpanKind::Internal, "span", now, now));
        }
        assert!(is_dropping());

        std::thread::spawn(move || answer_requests(&listener));
        exporter.stop();
        assert!(!is_dropping());
        exporter.send(trace.child(SpanKind::Internal, "span", now, now));
        assert!(!is_dropping(), "a span after the end counts as dropped");
    }
}
