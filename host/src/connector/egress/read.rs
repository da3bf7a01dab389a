//! Requests that make no defect: reads, which may follow redirects and be sent once more, and
//! preparations, which may not.

use tokio::time::{Instant, timeout_at};

use crate::domain::Effect;

use super::connect::Wire;
use super::exchange::{Answer, Fault, exchange, request_for};
use super::outbound::Outbound;
use super::record::CallId;
use super::secrets::check_placeholders;
use super::{HttpError, Session};

/// Redirects that one read follows.
const REDIRECTS_MAX: u32 = 5;

impl Session {
    /// A read: each hop is a call of its own, checked and given its origin's secrets like the first.
    pub(super) async fn read(
        &self,
        mut outbound: Outbound,
        mut call: CallId,
    ) -> Result<Answer, HttpError> {
        let mut hops = 0;
        loop {
            let answer = self.noted(call, self.once(&outbound).await)?;
            let Some(location) = redirect(&outbound, &answer) else { return Ok(answer) };
            hops += 1;
            call = self.record.open(&outbound.method, outbound.effect)?;
            let next = if hops > REDIRECTS_MAX {
                Err(HttpError::Denied(format!("more than {REDIRECTS_MAX} redirects")))
            } else {
                self.hop(&outbound, &answer, &location)
            };
            outbound = self.noted_error(call, next)?;
            self.aim(call, &outbound.origin, &outbound.url, outbound.body.len());
        }
    }

    /// The next hop. An address in which the tracker echoed a secret stays on the origin that
    /// was given it.
    fn hop(
        &self,
        outbound: &Outbound,
        answer: &Answer,
        location: &str,
    ) -> Result<Outbound, HttpError> {
        let next = outbound.redirected(answer.status, location, &self.access.connection)?;
        check_placeholders(&next, &self.access)?;
        let echoed = self.access.vault.scrubber().finds(location.as_bytes());
        if echoed && next.origin != outbound.origin {
            return Err(HttpError::Denied(format!(
                "a redirect would carry a secret to {}",
                next.origin
            )));
        }
        Ok(next)
    }

    /// One exchange. A read whose kept connection turns out to be gone is sent once more, on a fresh
    /// one.
    async fn once(&self, outbound: &Outbound) -> Result<Answer, HttpError> {
        let ready = self.ready(outbound.clone()).await?;
        if let Some(wire) = self.access.pool.take(&ready.origin, ready.effect, Instant::now()) {
            match self.exchange(wire, &ready).await {
                Err(Fault::NotSent(_)) => {}
                Err(Fault::Dropped(_)) if ready.effect == Effect::Read => {}
                done => return done.map_err(Fault::error),
            }
        }
        let wire = self.fresh(&ready.origin).await?;
        self.exchange(wire, &ready).await.map_err(Fault::error)
    }

    /// One exchange on one connection, which is kept if its answer was whole.
    async fn exchange(&self, mut wire: Wire, ready: &Outbound) -> Result<Answer, Fault> {
        let request = request_for(ready, &wire).map_err(Fault::NoAnswer)?;
        let asked_at = Instant::now();
        let answered = exchange(&mut wire, request, &self.limits);
        let answer = timeout_at(self.deadline, answered).await.unwrap_or_else(|_| {
            let why = "no whole answer before the run's deadline (`limits.run_ms`)";
            Err(Fault::NoAnswer(HttpError::Interrupted(why.to_owned())))
        })?;
        self.access.pool.give(&ready.origin, wire).await;
        self.note_refusal(&ready.origin, answer.status, asked_at).await;
        Ok(answer)
    }
}

/// Where an answer sends a read on to.
fn redirect(outbound: &Outbound, answer: &Answer) -> Option<String> {
    let moved = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
    let location = answer.headers.get(http::header::LOCATION)?;
    (moved && outbound.effect == Effect::Read)
        .then(|| String::from_utf8_lossy(location.as_bytes()).into_owned())
}
