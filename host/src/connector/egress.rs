//! The way out: every request of every guest passes here, whether by `http` or by `wasi:http`.
//!
//! Grant, resolve, pin, connect, place secrets, journal, send, decode, scrub, in that order. Never
//! trusts a text for an origin, never retries a write, never lets a guest see a secret.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use crate::domain::{Clock, Effect, Journal, Limits, OutboundCall, WriteRecord};

use super::Access;

/// The part that all runs share: trust anchors, resolver, proxies.
#[derive(Debug)]
pub struct Egress {}

/// Idle connections of one connection's runs, by origin.
#[derive(Debug, Default)]
pub(super) struct Pool {}

/// What a run may do to its tracker.
#[derive(Clone)]
pub(super) enum Permission {
    /// Not one request (`describe`).
    Nothing,
    /// Reads and preparations (`find`, `count`, `check`, `choices`).
    Reads,
    /// Writes too, each passing this gate (`create`).
    Writes(Arc<dyn Journal>),
}

/// The requests of one run.
pub(super) struct Session {}

/// A request as a guest asks for it.
#[derive(Debug, Clone)]
pub(super) struct OutboundRequest {
    pub(super) method: Method,
    /// Absent: read for GET, HEAD and OPTIONS, else write.
    pub(super) effect: Option<Effect>,
    /// Absolute, or a path below the connection's only origin.
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

/// A whole answer, decoded and scrubbed.
#[derive(Debug, Clone)]
pub(super) struct OutboundResponse {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

/// Why there is no answer; the words are the WIT's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpError {
    #[error("denied: {0}")]
    Denied(String),
    #[error("limit: {0}")]
    Limit(String),
    #[error("unreachable: {0}")]
    Unreachable(String),
    #[error("interrupted: {0}")]
    Interrupted(String),
    #[error("invalid: {0}")]
    Invalid(String),
}

impl Session {
    /// Begins a run's requests; the run must end by `deadline`.
    pub(super) fn new(
        egress: Arc<Egress>,
        access: Arc<Access>,
        permission: Permission,
        limits: Limits,
        clock: Arc<dyn Clock>,
        deadline: tokio::time::Instant,
    ) -> Arc<Self> {
        todo!()
    }

    /// Sends one request and returns its whole answer. A write goes on to its end even if this
    /// future is dropped.
    pub(super) async fn send(
        self: &Arc<Self>,
        request: OutboundRequest,
    ) -> Result<OutboundResponse, HttpError> {
        todo!()
    }

    /// Removes every secret, in every form it may be echoed in, from a text of the guest.
    pub(super) fn scrub(&self, text: String) -> String {
        todo!()
    }

    /// Waits for exchanges still under way (to the deadline at most) and hands over the record.
    pub(super) async fn finish(&self) -> (Vec<OutboundCall>, Vec<WriteRecord>) {
        todo!()
    }
}
