//! Decides whether a webhook request of a connection is answered: its sender is checked before the
//! rate, so that requests of others never use up the rate of the connection.
//!
//! Reads the body only of a request that may be answered.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Extensions, HeaderMap};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::egress::ActiveConnection;
use crate::http::AppState;
use crate::http::clients::mark_known;
use crate::http::problem::Problem;
use crate::http::rate_limits::RateKind;

use super::body::{self, ReadBody};
use super::classify::WebhookKind;
use super::sender;

const OVER_RATE: &str = "the connection receives too many requests";

/// A request of a connection, before its body is read.
pub(super) struct UnreadRequest<'a> {
    pub(super) active: &'a ActiveConnection,
    pub(super) kind: &'a WebhookKind,
    pub(super) client: IpAddr,
    pub(super) headers: &'a HeaderMap,
    pub(super) extensions: &'a Extensions,
    pub(super) received_at: Timestamp,
}

/// The part of the body that was read, unless none was, and the problem to answer instead of the
/// request.
pub(super) type Admitted = (Option<ReadBody>, Option<Problem>);

impl UnreadRequest<'_> {
    /// Reads the body, if the request may be answered.
    pub(super) async fn admit(&self, app: &AppState, body: Body) -> Admitted {
        if let Err(problem) = sender::check_address(self.active, self.client) {
            return (None, Some(problem));
        }
        if *self.kind == WebhookKind::Probe {
            let counted = self.count(app, self.rate_of_probe());
            return self.read_if(counted, body).await;
        }
        match sender::check_headers(self.active, self.headers, self.received_at) {
            Ok(None) => {
                mark_known(self.extensions);
                let counted = self.count(app, self.rate_of_sender());
                self.read_if(counted, body).await
            }
            Ok(Some(pending)) => {
                let (body, sent) = body::read_sent(self.headers, body).await;
                let signed = pending.verify(&sent);
                self.require(app, signed, body)
            }
            // An empty body makes it a probe, which needs no credential.
            Err(problem) if *self.kind == WebhookKind::CreateOrProbe => {
                let body = body::read(self.headers, body).await;
                self.require(app, Err(problem), body)
            }
            Err(problem) => (None, Some(problem)),
        }
    }

    /// Reads the body, unless the connection is over its rate.
    async fn read_if(&self, counted: Result<(), Problem>, body: Body) -> Admitted {
        match counted {
            Ok(()) => (Some(body::read(self.headers, body).await), None),
            Err(problem) => (None, Some(problem)),
        }
    }

    /// Admits a request whose body was read, if it is a probe or `shown` says that its credential
    /// is right.
    fn require(&self, app: &AppState, shown: Result<(), Problem>, body: ReadBody) -> Admitted {
        let is_probe = self.kind.is_probe_with(&body);
        let counted = match (is_probe, shown) {
            (true, Err(_)) => self.count(app, RateKind::Probe),
            (_, shown) => shown.and_then(|()| {
                mark_known(self.extensions);
                self.count(app, self.rate_of_sender())
            }),
        };
        (Some(body), counted.err())
    }

    fn rate_of_sender(&self) -> RateKind {
        match self.kind {
            WebhookKind::CreateOrProbe | WebhookKind::Create => RateKind::Click,
            _ => RateKind::Other,
        }
    }

    fn rate_of_probe(&self) -> RateKind {
        let asks = self.active.connection.webhook_auth.credential.is_some();
        if asks { RateKind::Probe } else { RateKind::Other }
    }

    /// Counts the request against a rate of its connection.
    fn count(&self, app: &AppState, kind: RateKind) -> Result<(), Problem> {
        let id = self.active.connection.id;
        let config = app.services.config.now();
        let counted = app.rate_limits.take_request(&config.webhook, id, kind, Instant::now());
        counted.map_err(|wait: Duration| Problem::rate_limited(OVER_RATE, wait))
    }
}
