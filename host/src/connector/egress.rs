//! The way out: every request of every guest passes here, whether by `http` or by `wasi:http`.
//!
//! Grant, resolve, pin, connect, place secrets, journal, send, decode, scrub. Never trusts a text for
//! an origin, never sends a write twice, never lets a guest see a secret.

mod address;
mod connect;
mod exchange;
mod outbound;
mod pool;
mod probe;
mod read;
mod record;
mod scrub;
mod secrets;
mod token;
mod trust;
mod vault;
mod write;

#[cfg(test)]
pub(super) mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::ClientConfig;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use url::Url;

use crate::domain::{Clock, Effect, Journal, Limits, Origin, OutboundCall, Usage, WriteRecord};

use super::Access;
use super::meter::Meter;
use address::{Resolver, Rules, SystemResolver};
use connect::Wire;
use exchange::Answer;
pub(crate) use outbound::Outbound;
use record::{CallId, Record};

pub use probe::ProbeStep;
pub use trust::TrustError;

#[cfg(fuzzing)]
pub(crate) use outbound::target;
#[cfg(fuzzing)]
pub(crate) use secrets::{check_placeholders, place};

pub(super) use outbound::is_hosts;
pub(super) use pool::Pool;
pub(super) use vault::Vault;

/// What [`Session::finish`] waits beyond the run's deadline, for exchanges that end at the deadline to
/// write down how.
const FINISH_GRACE: Duration = Duration::from_secs(2);

/// The part that all runs share: trust anchors, resolver, proxies.
pub struct Egress {
    tls: Arc<ClientConfig>,
    resolver: Box<dyn Resolver>,
    proxies: Matcher,
}

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
pub(super) struct Session {
    egress: Arc<Egress>,
    access: Arc<Access>,
    permission: Permission,
    limits: Limits,
    clock: Arc<dyn Clock>,
    deadline: Instant,
    meter: Arc<Meter>,
    record: Record,
    /// Held by the write that is under way: the journal knows of one at a time.
    turn: Arc<Mutex<()>>,
    tasks: TaskTracker,
}

/// A request as a guest asks for it.
#[derive(Debug, Clone)]
pub(crate) struct OutboundRequest {
    pub(crate) method: Method,
    /// Absent: read for GET, HEAD and OPTIONS, else write.
    pub(crate) effect: Option<Effect>,
    /// Absolute, or a path below the connection's only origin.
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
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
pub(crate) enum HttpError {
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

impl Egress {
    /// Reads the system's trust store and `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, once.
    ///
    /// # Errors
    /// The file of extra trust anchors cannot be used.
    pub fn new(extra_ca_file: Option<&Path>) -> Result<Self, TrustError> {
        Ok(Self {
            tls: trust::client_config(extra_ca_file)?,
            resolver: Box::new(SystemResolver),
            proxies: Matcher::from_env(),
        })
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins a run's requests; the run must end by `deadline`.
    pub(super) fn new(
        egress: Arc<Egress>,
        access: Arc<Access>,
        permission: Permission,
        limits: Limits,
        clock: Arc<dyn Clock>,
        deadline: Instant,
        meter: Arc<Meter>,
    ) -> Arc<Self> {
        let record = Record::new(limits.outbound_calls);
        let tasks = TaskTracker::new();
        let turn = Arc::default();
        Arc::new(Self {
            egress,
            access,
            permission,
            limits,
            clock,
            deadline,
            meter,
            record,
            turn,
            tasks,
        })
    }

    /// Sends one request and returns its whole answer. A write goes on to its end even if this
    /// future is dropped.
    ///
    /// # Errors
    /// In the WIT's words; a limit that was hit is named with its value.
    pub(super) async fn send(
        self: &Arc<Self>,
        request: OutboundRequest,
    ) -> Result<OutboundResponse, HttpError> {
        let call = self.record.open(&request.method, outbound::effect(&request))?;
        let outbound = self.noted_error(call, self.admit(request, call))?;
        let answer = match (&self.permission, outbound.effect) {
            (Permission::Writes(journal), Effect::Write) => {
                self.write(outbound, call, Arc::clone(journal)).await
            }
            _ => self.read(outbound, call).await,
        };
        answer.map(|answer| self.clean(answer)).map_err(|error| self.clean_error(error))
    }

    /// Removes every secret, in every form it may be echoed in, from a text of the guest.
    pub(super) fn scrub(&self, text: String) -> String {
        self.access.vault.scrubber().text(text)
    }

    /// Lets no further write begin, waits for those still under way (to the deadline) and hands
    /// over the record.
    pub(super) async fn finish(&self) -> (Vec<OutboundCall>, Vec<WriteRecord>) {
        self.record.close();
        self.tasks.close();
        // What is still out after the grace is in the record as "under way".
        let _ = timeout_at(self.deadline + FINISH_GRACE, self.tasks.wait()).await;
        self.record.copy()
    }

    /// What this run may use.
    pub(super) fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// What this run has computed; what is done for it elsewhere is charged to it.
    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The limits of this run.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Fills in what was used of the limits that are kept here.
    pub(super) fn fill(&self, usage: &mut Usage) {
        self.record.fill(usage);
    }

    /// Whether this run may send this request, as far as its text tells.
    fn admit(&self, request: OutboundRequest, call: CallId) -> Result<Outbound, HttpError> {
        let connection = &self.access.connection;
        let target = outbound::target(&request.url, connection)?;
        self.aim(call, &target.0, &target.1, request.body.len());
        let outbound = Outbound::check(request, target, connection, &self.limits)?;
        let denied = |why: &str| Err(HttpError::Denied(why.to_owned()));
        match (&self.permission, outbound.effect) {
            (Permission::Nothing, _) => return denied("this call of the connector sends nothing"),
            (Permission::Reads, Effect::Write) => {
                return denied(
                    "writes are refused outside `create`; a search by POST is marked `read`",
                );
            }
            _ => {}
        }
        secrets::check_placeholders(&outbound, &self.access)?;
        Ok(outbound)
    }

    /// The request with its secrets in place.
    async fn ready(&self, outbound: Outbound) -> Result<Outbound, HttpError> {
        let token = self.token(&outbound.origin).await?;
        secrets::place(outbound, &self.access, token.as_ref(), &self.limits)
    }

    /// A connection that was never used.
    async fn fresh(&self, origin: &Origin) -> Result<Wire, HttpError> {
        let connection = &self.access.connection;
        let rules = Rules {
            allow_private: connection.allow_private,
            public_only: connection.grants.fixed.contains(origin),
        };
        Ok(self.egress.connect(origin, rules, self.deadline).await?)
    }

    fn aim(&self, call: CallId, origin: &Origin, url: &Url, body_bytes: usize) {
        self.record.aim(call, origin, &self.scrub(url.path().to_owned()), body_bytes);
    }

    /// Closes a call in the record.
    fn noted(&self, call: CallId, answer: Result<Answer, HttpError>) -> Result<Answer, HttpError> {
        if let Ok(answer) = &answer {
            self.record.answered(call, answer.status, answer.body.len());
        }
        self.noted_error(call, answer)
    }

    fn noted_error<T>(&self, call: CallId, done: Result<T, HttpError>) -> Result<T, HttpError> {
        done.inspect_err(|error| self.record.failed(call, &self.scrub(error.to_string())))
    }

    /// What the guest may see of an answer: hop-by-hop headers and secrets are gone.
    fn clean(&self, answer: Answer) -> OutboundResponse {
        let scrubber = self.access.vault.scrubber();
        let body = scrubber.bytes(answer.body);
        let mut headers = Vec::with_capacity(answer.headers.len());
        for (name, value) in &answer.headers {
            let name = name.as_str();
            if scrubber.finds(name.as_bytes()) || HOP_BY_HOP.contains(&name) {
                continue;
            }
            let value = if name == "content-length" && !body.is_empty() {
                body.len().to_string()
            } else {
                scrubber.text(String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            headers.push((name.to_owned(), value));
        }
        OutboundResponse { status: answer.status, headers, body }
    }

    fn clean_error(&self, error: HttpError) -> HttpError {
        match error {
            HttpError::Denied(why) => HttpError::Denied(self.scrub(why)),
            HttpError::Limit(why) => HttpError::Limit(self.scrub(why)),
            HttpError::Unreachable(why) => HttpError::Unreachable(self.scrub(why)),
            HttpError::Interrupted(why) => HttpError::Interrupted(self.scrub(why)),
            HttpError::Invalid(why) => HttpError::Invalid(self.scrub(why)),
        }
    }
}

/// Headers of an answer that concern its connection and nobody behind it.
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
