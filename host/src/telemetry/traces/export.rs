//! Gives spans to OpenTelemetry's batch processor, whose thread sends them as OTLP over HTTP with
//! JSON.
//!
//! Never waits: a full queue drops spans. The processor does not say so, and therefore the room of
//! its queue is counted here. Says once that spans are dropped, and once that there is room again.

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

/// Maximum number of spans that wait; further ones are dropped.
const QUEUE_MAX: usize = 8_192;
/// Maximum number of spans of one request.
const BATCH_MAX: usize = 512;
/// How long a span waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(2);
/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Where traces go, and which.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// The address of the collector, with its path: `http://collector:4318/v1/traces`.
    pub endpoint: Url,
    /// The part of the traces that is exported, from 0 to 1.
    pub sample_ratio: f64,
    /// Headers of each request.
    pub headers: Vec<(String, Secret)>,
    /// A PEM file with further certificates to trust.
    pub extra_ca_file: Option<PathBuf>,
}

/// Why no traces can be exported.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file with certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The settings cannot be used.
    #[error(transparent)]
    Settings(#[from] ExporterBuildError),
}

/// The processor of spans.
#[derive(Debug)]
pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    queue: Arc<Queue>,
}

/// The room of the processor's queue.
#[derive(Debug)]
struct Queue {
    room: Semaphore,
    /// Whether spans were dropped, and the queue is not yet half empty again.
    drops: AtomicBool,
}

/// Sends batches; what is in one has left the queue.
#[derive(Debug)]
struct Counted {
    otlp: Otlp,
    queue: Arc<Queue>,
    endpoint: Url,
    /// Why the last request failed.
    failure: Arc<Mutex<Option<String>>>,
    /// Whether the last batch was lost.
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
        otlp.set_resource(&this_server());
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(BATCH_WAIT)
            .build();
        let room = Semaphore::new(QUEUE_MAX);
        let queue = Arc::new(Queue { room, drops: AtomicBool::default() });
        let is_failing = AtomicBool::default();
        let counted = Counted { otlp, queue: Arc::clone(&queue), endpoint, failure, is_failing };
        Ok(Self { processor: BatchSpanProcessor::new(counted, config), queue })
    }

    pub(super) fn send(&self, span: SpanData) {
        match self.queue.room.try_acquire() {
            Ok(room) => {
                room.forget();
                self.processor.on_end(span);
            }
            Err(TryAcquireError::NoPermits) if !self.queue.drops.swap(true, Ordering::Relaxed) => {
                tracing::warn!(
                    "the queue of traces is full, so parts of traces are dropped: the collector \
                     does not take them fast enough; lower `traces.sample_ratio`"
                );
            }
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {}
        }
    }

    pub(super) fn stop(&self) {
        self.queue.room.close();
        if let Err(error) = self.processor.shutdown_with_timeout(REQUEST_TIMEOUT) {
            tracing::warn!(%error, "the last parts of traces may be lost");
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // Only `stop` closes the semaphore. Otherwise the thread has panicked.
        if !self.queue.room.is_closed() {
            self.queue.room.close();
            tracing::error!(
                "the thread that exports traces has failed; none is exported until a restart"
            );
        }
    }
}

impl Counted {
    /// Logs the first batch that is lost, and the first one that is not lost after it.
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

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let Queue { room, drops } = &*self.queue;
        room.add_permits(batch.len());
        if room.available_permits() > QUEUE_MAX / 2 && drops.swap(false, Ordering::Relaxed) {
            tracing::info!("the queue of traces has room again");
        }
        let exported = self.otlp.export(batch).await;
        self.log_result();
        exported
    }
}

/// What a trace says of the server that made it.
fn this_server() -> Resource {
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

    /// Answers each request of `listener`.
    fn answer(listener: &TcpListener) {
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
    fn a_full_queue_drops_spans_until_the_collector_takes_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let settings =
            TraceSettings { endpoint, sample_ratio: 1.0, headers: Vec::new(), extra_ca_file: None };
        let exporter = Exporter::start(settings).unwrap();
        let trace = EventTrace { trace: 1, root: 1, sender: None };
        let now = Timestamp::UNIX_EPOCH;
        let drops = || exporter.queue.drops.load(Ordering::Relaxed);
        for _ in 0..QUEUE_MAX {
            exporter.send(trace.part(SpanKind::Internal, "part", now, now));
        }
        assert!(!drops());
        // No more than one batch has left the queue: nobody answers its request.
        for _ in 0..=BATCH_MAX {
            exporter.send(trace.part(SpanKind::Internal, "part", now, now));
        }
        assert!(drops());

        std::thread::spawn(move || answer(&listener));
        exporter.stop();
        assert!(!drops());
        exporter.send(trace.part(SpanKind::Internal, "part", now, now));
        assert!(!drops(), "nothing is queued after the end");
    }
}
