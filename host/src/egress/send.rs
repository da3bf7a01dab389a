//! Sends one request of a guest or of the host. `read.rs` sends the requests that are not writes.
//!
//! The journal commits a write before its first byte is sent. The commit and the exchange run in a
//! separate task, which continues even if the guest ends. Never follows a redirect of a write, and
//! never sends a write again that the tracker may have processed.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::cpu_time;
use crate::domain::{Effect, Journal, Origin, WriteAnswer};
use crate::secret::Secret;

use super::answer::{Answer, AnswerMemory};
use super::authorize::{self, CheckedRequest};
use super::exchange::{ExchangeError, build_request, exchange};
use super::pool::IDLE_FOR_WRITE_MAX;
use super::record::Call;
use super::secrets::insert_secrets;
use super::{HttpError, OutboundRequest, OutboundResponse, Permission, RunRequests};
use super::{read, tape, token};
use crate::transport::{HttpConnection, Sender};

/// The memory that is charged for the bytes that secrets may add to a body, until the size of the
/// new body is known.
const REPLACEMENT_BYTES: u64 = 256 << 10;

/// A write that is ready for the journal: it has the lock for writes, its secrets and an HTTP
/// connection.
struct PreparedWrite {
    /// The request with its secrets.
    outbound: CheckedRequest,
    connection: HttpConnection,
    token_obtained_at: Instant,
    /// The guard of `RunRequests::write_lock`. No other write of the run begins before it is
    /// dropped.
    write_guard: OwnedMutexGuard<()>,
}

/// The parts of a write that the functions in its task share.
struct WriteInTask<'a> {
    outbound: &'a CheckedRequest,
    token_obtained_at: Instant,
    call: &'a Call,
    journal: &'a dyn Journal,
}

impl RunRequests {
    /// Sends one request and returns its complete response, redacted. The task of a write continues
    /// even if this future is dropped.
    ///
    /// # Errors
    /// The cases of `http-error` in the WIT.
    pub(crate) async fn send(
        self: &Arc<Self>,
        request: OutboundRequest,
    ) -> Result<OutboundResponse, HttpError> {
        let mut call = self
            .record
            .begin_call(&request.method, authorize::effect_of(&request.method, request.effect))?;
        let mut outbound = match authorize::authorize(self, request, &mut call) {
            Ok(outbound) => outbound,
            Err(error) => return call.finish(Err(error)),
        };
        self.add_trace(&mut outbound, &call);
        match &self.permission {
            Permission::Writes(journal) if outbound.effect == Effect::Write => {
                self.send_write(outbound, call, Arc::clone(journal)).await
            }
            _ => read::send_read(self, outbound, call).await,
        }
    }

    /// Records a request that cannot be built, as a refused call.
    ///
    /// # Errors
    /// Always: `why`, or the limit of requests if the run has exceeded it.
    pub(crate) fn refuse(
        &self,
        method: &Method,
        effect: Option<Effect>,
        why: HttpError,
    ) -> Result<OutboundResponse, HttpError> {
        let call = self.record.begin_call(method, authorize::effect_of(method, effect))?;
        call.finish(Err(why))
    }

    async fn send_write(
        self: &Arc<Self>,
        outbound: CheckedRequest,
        mut call: Call,
        journal: Arc<dyn Journal>,
    ) -> Result<OutboundResponse, HttpError> {
        // `finish` waits for this token, so it is made before the write is added to the record.
        let running_write = self.writes.token();
        let prepared = match self.prepare_write(outbound, &mut call).await {
            Ok(prepared) => prepared,
            Err(error) => return call.finish(Err(error)),
        };
        let requests = Arc::clone(self);
        let sending = async move {
            let PreparedWrite { outbound, connection, token_obtained_at, write_guard } = prepared;
            let (outbound, journal) = (&outbound, &*journal);
            let write = WriteInTask { outbound, token_obtained_at, call: &call, journal };
            let result = requests.journal_and_send(&write, connection).await;
            let response = call.finish(result);
            drop((write_guard, running_write));
            response
        };
        let task = tokio::spawn(cpu_time::run_to_completion(sending, Arc::clone(&self.meter)));
        task.await.unwrap_or_else(|error| {
            Err(HttpError::Interrupted(format!("the task that sends the write failed: {error}")))
        })
    }

    /// Prepares a write before the journal commit. If a step fails, the journal has no mark of the
    /// write.
    async fn prepare_write(
        &self,
        outbound: CheckedRequest,
        call: &mut Call,
    ) -> Result<PreparedWrite, HttpError> {
        call.add_unsent_write(&outbound)?;
        let write_guard = Arc::clone(&self.write_lock).lock_owned().await;
        self.record.check_earlier_writes()?;
        let token = token::token_for_origin(self, &outbound.origin).await?;
        let token_obtained_at = Instant::now();
        let outbound = self.insert_cookies_and_secrets(outbound, token.as_ref())?;
        let idle_connection =
            self.active.pool.take(&outbound.origin, outbound.effect, Instant::now());
        let connection = match idle_connection {
            Some(connection) => connection,
            None => {
                let connected = self.connect(&outbound.origin).await;
                connected.inspect_err(|error| tape::record_failure(self, &outbound, error))?
            }
        };
        Ok(PreparedWrite { outbound, connection, token_obtained_at, write_guard })
    }

    /// Adds cookies and secrets to the request. Replacing a placeholder copies the body, so the
    /// memory of the copy is charged first.
    pub(super) fn insert_cookies_and_secrets(
        &self,
        mut outbound: CheckedRequest,
        token: Option<&Secret>,
    ) -> Result<CheckedRequest, HttpError> {
        self.cookies.add_to_request(&mut outbound);
        if outbound.body.is_empty() || self.active.credentials.placeholders.is_empty() {
            return insert_secrets(outbound, &self.active, token, &self.limits);
        }
        let mut charge = self.memory.charge(outbound.body.len() as u64 + REPLACEMENT_BYTES)?;
        let mut outbound = insert_secrets(outbound, &self.active, token, &self.limits)?;
        charge.set(outbound.body.len() as u64)?;
        outbound.body = charge.bind_to_body(outbound.body);
        Ok(outbound)
    }

    async fn journal_and_send(
        &self,
        write: &WriteInTask<'_>,
        connection: HttpConnection,
    ) -> Result<Answer, HttpError> {
        let WriteInTask { outbound, journal, .. } = *write;
        let request = build_request(outbound, &connection)?;
        let memory = AnswerMemory::reserve(self, self.limits.response_body_bytes)?;
        // Checked again, because the run may have ended after `add_unsent_write`.
        if self.record.is_closed() {
            return Err(HttpError::Denied("the run has ended; the write was not sent".to_owned()));
        }
        let has_marker = outbound.contains(journal.marker().as_str());
        match self.until_deadline(journal.mark_sending(has_marker)).await {
            Some(Ok(())) => {}
            Some(Err(refused)) => return Err(HttpError::Denied(refused.to_string())),
            None => {
                self.undo_journal(journal).await;
                let why = "the deadline of the run's requests (`limits.run_ms`) passed, or this \
                           server shut down, before the write was journaled; the write was not \
                           sent";
                return Err(HttpError::Unreachable(why.to_owned()));
            }
        }
        match self.send_journaled_write(write, connection, request, memory).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                if !error.was_sent() {
                    self.undo_journal(journal).await;
                }
                Err(tape::record_failed_exchange(self, outbound, error))
            }
        }
    }

    async fn send_journaled_write(
        &self,
        write: &WriteInTask<'_>,
        mut connection: HttpConnection,
        mut request: Request<Full<Bytes>>,
        memory: AnswerMemory,
    ) -> Result<Answer, ExchangeError> {
        let origin = &write.outbound.origin;
        if connection.idle_since.elapsed() >= IDLE_FOR_WRITE_MAX {
            // The tracker may already be closing a connection that was idle for so long.
            (connection, request) = self.reconnect(write.outbound).await?;
        }
        let mut result = self.send_if_leased(write, &mut connection, request, memory).await;
        if matches!(result, Err(ExchangeError::Http1Required(_))) {
            // The tracker did not process the write and requires HTTP/1.1, so the host sends it
            // again.
            self.active.pool.require_http1(origin);
            (connection, request) = self.reconnect(write.outbound).await?;
            let memory = AnswerMemory::reserve(self, self.limits.response_body_bytes)
                .map_err(ExchangeError::NotStarted)?;
            result = self.send_if_leased(write, &mut connection, request, memory).await;
        }
        let answer = result?;
        self.cookies.store(origin, &write.outbound.url, &answer.headers);
        self.active.pool.put_back(origin, connection).await;
        token::expire_refused_token(self, origin, answer.status, write.token_obtained_at).await;
        Ok(answer)
    }

    /// Sends a write only if the lease on its defect is still valid.
    async fn send_if_leased(
        &self,
        WriteInTask { outbound, call, journal, .. }: &WriteInTask<'_>,
        connection: &mut HttpConnection,
        request: Request<Full<Bytes>>,
        memory: AnswerMemory,
    ) -> Result<Answer, ExchangeError> {
        if !journal.may_send() {
            let why = "the lease on the defect ended before the write was sent";
            return Err(ExchangeError::NotStarted(HttpError::Unreachable(why.to_owned())));
        }
        call.record_write_under_way();
        let result = exchange(self, outbound, connection, request, memory).await;
        call.record_write(classify_write(&result));
        // If the proxy refused the write, the record contains the proxy's status, and the guest
        // gets an error, because the tracker did not answer.
        let answer = result?;
        let proxy_refusal = connection.explain_proxy_refusal(answer.status);
        proxy_refusal.map_or(Ok(answer), |why| Err(ExchangeError::RefusedByProxy(why)))
    }

    /// Connects to an origin. In a replay, returns a value that cannot send anything.
    pub(super) async fn connect(&self, origin: &Origin) -> Result<HttpConnection, HttpError> {
        if self.is_replay() {
            let idle_since = Instant::now();
            return Ok(HttpConnection {
                sender: Sender::Recorded,
                forwarding_proxy: None,
                idle_since,
            });
        }
        let caller = self.active.caller_for(origin);
        let connecting = self.egress.dialer.connect(origin, caller, self.request_deadline);
        let no_connection = || {
            let why = "no connection before the deadline of the run's requests (`limits.run_ms`) \
                       or the shutdown of this server";
            HttpError::Unreachable(why.to_owned())
        };
        Ok(self.until_deadline(connecting).await.ok_or_else(no_connection)??)
    }

    /// Makes a new HTTP connection, and builds the request again, because its form depends on the
    /// HTTP connection.
    async fn reconnect(
        &self,
        outbound: &CheckedRequest,
    ) -> Result<(HttpConnection, Request<Full<Bytes>>), ExchangeError> {
        let connection = self.connect(&outbound.origin).await;
        let connection = connection.map_err(ExchangeError::NotStarted)?;
        let request = build_request(outbound, &connection).map_err(ExchangeError::NotStarted)?;
        Ok((connection, request))
    }

    /// Removes from the journal the mark of a write that was not sent. Does nothing if an earlier
    /// write of this run may have been sent, because then the row must stay `sent`.
    async fn undo_journal(&self, journal: &dyn Journal) {
        if !self.record.may_have_sent_write() {
            journal.unmark().await;
        }
    }
}

/// If the write was sent, only a complete answer or the status of a refusal proves what the tracker
/// did.
fn classify_write(result: &Result<Answer, ExchangeError>) -> WriteAnswer {
    match result {
        Ok(answer) => WriteAnswer::Status(answer.status),
        Err(error) if !error.was_sent() => WriteAnswer::NotSent,
        Err(ExchangeError::Body { status, source })
            if source.is_complete() || WriteAnswer::is_refusal(*status) =>
        {
            WriteAnswer::Status(*status)
        }
        Err(error) => WriteAnswer::Broken(error.to_string()),
    }
}
