//! Requests that may make a defect: connection made, journalled, then let out; never sent twice.
//!
//! From the journal on, a write is a task of its own that goes on to its end (or the run's deadline)
//! whatever becomes of the guest. It follows no redirect.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};

use crate::domain::{Journal, WriteAnswer, WriteRecord};

use super::super::meter::{Charged, Spent};
use super::connect::Wire;
use super::exchange::{Answer, Fault, exchange, request_for};
use super::outbound::Outbound;
use super::pool::IDLE_WRITE_MAX;
use super::record::{CallId, WriteId, under_way};
use super::{HttpError, Session};

impl Session {
    /// A write: everything that may fail without harm comes first, then its task.
    pub(super) async fn write(
        self: &Arc<Self>,
        outbound: Outbound,
        call: CallId,
        journal: Arc<dyn Journal>,
    ) -> Result<Answer, HttpError> {
        let scrubber = self.access.vault.scrubber();
        let record = WriteRecord {
            what: scrubber.text(outbound.what()),
            answer: WriteAnswer::NotSent,
            ended_at: self.clock.now(),
        };
        // `finish` waits for this as it waits for the task: no write begins behind its back.
        let under_way = self.tasks.token();
        let write = self.noted_error(call, self.record.open_write(record))?;
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let prepared = self.noted_error(call, self.prepared(outbound).await);
        let (ready, wire) = prepared?;
        let session = Arc::clone(self);
        let leaving = async move {
            let left = session.let_out(&ready, wire, write, journal.as_ref()).await;
            let left = session.noted(call, left);
            drop((turn, under_way));
            left
        };
        let task = tokio::spawn(Charged::to_its_end(leaving, Arc::clone(&self.meter)));
        match task.await {
            Ok(Ok(left)) => left,
            Ok(Err(Spent)) => Err(HttpError::Interrupted("the run was over".to_owned())),
            Err(error) => Err(HttpError::Interrupted(error.to_string())),
        }
    }

    /// The request with its secrets, and a connection that was not idle for long.
    async fn prepared(&self, outbound: Outbound) -> Result<(Outbound, Wire), HttpError> {
        let ready = self.ready(outbound).await?;
        let wire = match self.access.pool.take(&ready.origin, ready.effect, Instant::now()) {
            Some(wire) => wire,
            None => self.fresh(&ready.origin).await?,
        };
        Ok((ready, wire))
    }

    /// Past the journal: from here on every way out says what is known of the write.
    async fn let_out(
        &self,
        ready: &Outbound,
        mut wire: Wire,
        write: WriteId,
        journal: &dyn Journal,
    ) -> Result<Answer, HttpError> {
        let mut request = request_for(ready, &wire)?;
        let connected = Instant::now();
        if self.record.is_closed() {
            return Err(HttpError::Denied("the run is over".to_owned()));
        }
        match timeout_at(self.deadline, journal.sent()).await {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => return Err(HttpError::Denied(refused.to_string())),
            Err(_) => {
                self.take_back(journal).await;
                return Err(HttpError::Unreachable("the run's deadline came first".to_owned()));
            }
        }
        if connected.elapsed() >= IDLE_WRITE_MAX {
            // A slow disk: the other side may be closing what was idle meanwhile.
            (request, wire) = match self.another(ready).await {
                Ok(another) => another,
                Err(error) => {
                    self.take_back(journal).await;
                    return Err(error);
                }
            };
        }
        self.record.close_write(write, under_way(), self.clock.now());
        let exchanged = timeout_at(self.deadline, exchange(&mut wire, request, &self.limits));
        let result = exchanged.await.unwrap_or_else(|_| {
            let why = "no whole answer before the run's deadline (`limits.run_ms`)";
            Err(Fault::NoAnswer(HttpError::Interrupted(why.to_owned())))
        });
        let came = came_of(&result, &|text| self.scrub(text));
        let taken_back = came == WriteAnswer::NotSent;
        self.record.close_write(write, came, self.clock.now());
        if taken_back {
            self.take_back(journal).await;
        }
        if let Ok(answer) = &result {
            self.access.pool.give(&ready.origin, wire).await;
            self.note_refusal(&ready.origin, answer.status, connected).await;
        }
        result.map_err(Fault::error)
    }

    /// The request on a connection that was never used.
    async fn another(&self, ready: &Outbound) -> Result<(Request<Full<Bytes>>, Wire), HttpError> {
        let wire = self.fresh(&ready.origin).await?;
        Ok((request_for(ready, &wire)?, wire))
    }

    /// Puts the row back, unless an earlier write of this run may have left: then it stays `sent`.
    async fn take_back(&self, journal: &dyn Journal) {
        if !self.record.any_left() {
            journal.unsent().await;
        }
    }
}

/// What a write's end proves. Only a whole answer, or the head of a refusal (4xx), proves anything.
fn came_of(result: &Result<Answer, Fault>, scrub: &dyn Fn(String) -> String) -> WriteAnswer {
    match result {
        Ok(answer) => WriteAnswer::Status(answer.status),
        Err(Fault::NotSent(_)) => WriteAnswer::NotSent,
        Err(Fault::Cut { status, whole, .. }) if *whole || (400..500).contains(status) => {
            WriteAnswer::Status(*status)
        }
        Err(Fault::Cut { status, error, .. }) => {
            WriteAnswer::Broken(scrub(format!("answered {status}, then {error}")))
        }
        Err(Fault::Dropped(why)) => WriteAnswer::Broken(scrub(why.clone())),
        Err(Fault::NoAnswer(error)) => WriteAnswer::Broken(scrub(error.to_string())),
    }
}
