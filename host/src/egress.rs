//! Sends all HTTP requests of guests, and the host's own requests to Test Manager and to identity
//! providers. A guest makes its requests with the interface `http` of the contract or with
//! `wasi:http`.
//!
//! The steps of a write: add a call to the record, authorize, insert secrets, connect, journal,
//! send, complete the call in the record, redact. Never sends a write again that the tracker may
//! have processed.

mod active;
mod answer;
mod authorize;
mod body;
mod cookies;
mod credentials;
mod decode;
mod exchange;
mod inflate;
mod pool;
mod probe;
mod query;
mod read;
mod record;
mod run_requests;
mod secrets;
mod send;
mod spool;
mod tape;
mod test_manager;
mod token;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cpu_time::Meter;
use crate::domain::{Effect, Journal, Origin};
use crate::memory::{Account, Charge, MemoryFull};
use crate::transport::{ConnectError, Dialer, OwnAddresses, TrustError, client_config};

use spool::Spool;

pub use active::ActiveConnection;
pub(crate) use authorize::{URL_BYTES_MAX, body_too_large};
pub(crate) use body::Body;
pub(crate) use run_requests::RunRequests;
pub use tape::{
    Comparison, InvalidExchange, NoAnswer, Recorder, Recording, RecordingError, Replay, Reply,
    SentRequest, Tape, TapeError, TapedAnswer, TapedRequest, write_recording,
};
pub(crate) use token::TokenError;

#[cfg(fuzzing)]
pub(crate) use authorize::{CheckedRequest, parse_target};
#[cfg(fuzzing)]
pub(crate) use exchange::path_and_query;
#[cfg(fuzzing)]
pub(crate) use secrets::check_placeholders;
#[cfg(fuzzing)]
pub(crate) use secrets::insert_secrets;

/// The time for which exchanges may continue after [`Egress::close`].
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Sends the requests of all runs.
pub struct Egress {
    dialer: Dialer,
    spool: Arc<Spool>,
    own_server: OwnServer,
    /// The tape for the requests of connections that have no tape.
    tape: Option<Tape>,
    /// The time at which all exchanges end because the server shuts down. `None` before the
    /// shutdown.
    closed_at: watch::Sender<Option<Instant>>,
}

/// Addresses and headers of this server. Requests of connections must not go to these addresses or
/// set these headers.
#[derive(Debug, Clone, Default)]
pub struct OwnServer {
    /// The addresses on which this server listens.
    pub addresses: OwnAddresses,
    /// The names of the headers by which this server recognises a reverse proxy in front of it and
    /// the people whom that proxy signs in.
    pub headers: Vec<String>,
}

impl From<ConnectError> for HttpError {
    fn from(error: ConnectError) -> Self {
        if error.is_forbidden() {
            Self::Denied(error.to_string())
        } else {
            Self::Unreachable(format!("{} failed: {error}", error.step()))
        }
    }
}

/// Which requests a run may send.
#[derive(Clone)]
pub(crate) enum Permission {
    /// The run may send no request.
    Nothing,
    /// The run may send reads and preparations.
    Reads,
    /// The run may also send writes. Each write is committed to this journal before it is sent.
    Writes(Arc<dyn Journal>),
}

/// The accounts to which the host charges the work that it does for a run.
#[derive(Clone)]
pub(crate) struct RunAccounts {
    pub(crate) meter: Arc<Meter>,
    pub(crate) memory: Arc<Account>,
}

/// A request of a guest or of the host. Nothing in it is checked yet.
#[derive(Debug, Clone)]
pub(crate) struct OutboundRequest {
    pub(crate) method: Method,
    /// The effect that the sender of the request declares; `None` if it declares none.
    pub(crate) effect: Option<Effect>,
    /// An absolute URL.
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// A complete response. The content encodings are decoded, and secrets are redacted.
#[derive(Debug)]
pub(crate) struct OutboundResponse {
    pub(crate) status: u16,
    /// The URL that was answered. After redirects, it is the URL to which the last one led.
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
    pub(crate) charge: Charge,
}

/// The reason why a request has no response. Each variant except `NotGranted` is the case of
/// `http-error` in the WIT that has the same name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("denied: {0}")]
    Denied(String),
    /// The connection does not grant this origin. The guest gets the case `denied` of the WIT.
    #[error("denied: {}", not_granted_message(.0))]
    NotGranted(Origin),
    #[error("limit: {0}")]
    Limit(String),
    #[error("unreachable: {0}")]
    Unreachable(String),
    #[error("interrupted: {0}")]
    Interrupted(String),
    #[error("invalid: {0}")]
    Invalid(String),
}

impl HttpError {
    pub(crate) fn into_parts(self) -> (NoAnswer, String) {
        match self {
            Self::Denied(text) => (NoAnswer::Denied, text),
            Self::NotGranted(origin) => (NoAnswer::Denied, not_granted_message(&origin)),
            Self::Limit(text) => (NoAnswer::Limit, text),
            Self::Unreachable(text) => (NoAnswer::Unreachable, text),
            Self::Interrupted(text) => (NoAnswer::Interrupted, text),
            Self::Invalid(text) => (NoAnswer::Invalid, text),
        }
    }

    fn from_case(case: NoAnswer, text: String) -> Self {
        match case {
            NoAnswer::Denied => Self::Denied(text),
            NoAnswer::Limit => Self::Limit(text),
            NoAnswer::Unreachable => Self::Unreachable(text),
            NoAnswer::Interrupted => Self::Interrupted(text),
            NoAnswer::Invalid => Self::Invalid(text),
        }
    }
}

fn not_granted_message(origin: &Origin) -> String {
    format!("the connection does not grant {origin}; check the URLs in its settings")
}

impl Egress {
    /// Reads the system's trust store and the variables `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`
    /// once, now. Large bodies are stored in `spool_folder` and may use `spool_bytes_max` bytes
    /// together.
    ///
    /// # Errors
    /// The file of extra trust anchors cannot be used.
    pub fn new(
        extra_ca_file: Option<&Path>,
        spool_folder: PathBuf,
        spool_bytes_max: u64,
        own_server: OwnServer,
    ) -> Result<Self, TrustError> {
        let dialer = Dialer::from_env(client_config(extra_ca_file)?, own_server.addresses.clone());
        Ok(Self::with_dialer(dialer, Spool::new(spool_folder, spool_bytes_max), own_server))
    }

    fn with_dialer(dialer: Dialer, spool: Arc<Spool>, own_server: OwnServer) -> Self {
        Self { dialer, spool, own_server, tape: None, closed_at: watch::Sender::new(None) }
    }

    /// Makes runs use this tape, unless their connection has one.
    #[must_use]
    pub fn with_tape(self, tape: Tape) -> Self {
        Self { tape: Some(tape), ..self }
    }

    /// Shuts egress down: after `CLOSE_GRACE`, ends all exchanges and all attempts to connect.
    pub(crate) fn close(&self) {
        self.closed_at.send_replace(Some(Instant::now() + CLOSE_GRACE));
    }
}

impl From<MemoryFull> for HttpError {
    fn from(full: MemoryFull) -> Self {
        Self::Limit(full.to_string())
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").finish_non_exhaustive()
    }
}
