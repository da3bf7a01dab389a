//! Hands spans to a thread that sends them in batches, as OTLP over HTTP with JSON.
//!
//! Never blocks: a full queue drops spans. Says once that it drops them, and once that it does not
//! any more.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use url::Url;

use crate::secret::Secret;
use crate::transport::TrustError;

use super::client::Client;
use super::{Kind, Span};

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
    /// The system gives no thread.
    #[error("cannot start the thread that exports traces: {0}")]
    Thread(#[from] std::io::Error),
}

/// The queue of spans, and the thread that empties it.
#[derive(Debug)]
pub(super) struct Exporter {
    /// `None` after the end.
    thread: Mutex<Option<(SyncSender<Span>, JoinHandle<()>)>>,
    /// Whether spans were dropped since the queue was last empty.
    drops: Arc<AtomicBool>,
}

impl Exporter {
    pub(super) fn start(settings: TraceSettings) -> Result<Self, TraceError> {
        let client = Client::new(settings, REQUEST_TIMEOUT)?;
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let drops = Arc::<AtomicBool>::default();
        let dropped = Arc::clone(&drops);
        let export = move || {
            while let Some(batch) = next_batch(&receiver) {
                let is_emptied = batch.len() < BATCH_MAX;
                if is_emptied && dropped.swap(false, Ordering::Relaxed) {
                    tracing::info!("the queue of traces has room again");
                }
                client.send(&request(batch).to_string());
            }
        };
        let thread = Builder::new().name("traces".to_owned()).spawn(export)?;
        Ok(Self { thread: Mutex::new(Some((sender, thread))), drops })
    }

    pub(super) fn send(&self, span: Span) {
        let mut thread = self.thread.lock();
        let Some((sender, _)) = &*thread else { return };
        match sender.try_send(span) {
            Err(TrySendError::Full(_)) if !self.drops.swap(true, Ordering::Relaxed) => {
                tracing::warn!(
                    "the queue of traces is full, so parts of traces are dropped: the collector \
                     does not take them fast enough; lower `traces.sample_ratio`"
                );
            }
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => {
                *thread = None;
                tracing::error!(
                    "the thread that exports traces has ended; none is exported until a restart"
                );
            }
        }
    }

    pub(super) fn stop(&self) {
        let Some((sender, thread)) = self.thread.lock().take() else { return };
        drop(sender);
        let until = Instant::now() + REQUEST_TIMEOUT;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Waits for a span, then for further ones; `None` after the end.
fn next_batch(receiver: &Receiver<Span>) -> Option<Vec<Span>> {
    let mut batch = vec![receiver.recv().ok()?];
    let until = Instant::now() + BATCH_WAIT;
    while batch.len() < BATCH_MAX {
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(span) => batch.push(span),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(batch)
}

/// The body of a request: `ExportTraceServiceRequest` in the JSON mapping of OTLP 1.
fn request(batch: Vec<Span>) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let of = [text("service.name", "jackfield"), text("service.version", version)];
    let spans: Vec<_> = batch.into_iter().map(span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": of},
        "scopeSpans": [{"scope": {"name": "jackfield", "version": version}, "spans": spans}],
    }]})
}

fn span(span: Span) -> Value {
    let Span { trace, id, parent, kind, name, start, end, texts, numbers, error } = span;
    let texts = texts.iter().map(|(name, value)| text(name, value));
    let numbers = numbers.iter().map(|(name, value)| {
        // OTLP/JSON encodes 64-bit integers as strings.
        json!({"key": name, "value": {"intValue": value.to_string()}})
    });
    let kind = match kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
    };
    let mut span = json!({
        "traceId": format!("{trace:032x}"),
        "spanId": format!("{id:016x}"),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": start.as_nanosecond().to_string(),
        "endTimeUnixNano": end.as_nanosecond().to_string(),
        "attributes": texts.chain(numbers).collect::<Vec<_>>(),
    });
    if let Some(members) = span.as_object_mut() {
        members.extend(parent.map(|id| ("parentSpanId".to_owned(), format!("{id:016x}").into())));
        let status = error.map(|why| json!({"code": 2, "message": why}));
        members.extend(status.map(|status| ("status".to_owned(), status)));
    }
    span
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}
