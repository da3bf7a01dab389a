//! Decides whether a webhook request of a connection is handled or refused. The sender is checked
//! before the rate, so that requests without a valid credential never use up the rate of the
//! connection.
//!
//! Never reads the body of a request that is certain to be refused. Only an empty body can make a
//! request without a valid credential a probe.

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

const TOO_MANY_REQUESTS: &str = "the connection receives too many requests";

/// A request of a connection, before its body is read.
pub(super) struct UnreadRequest<'a> {
    pub(super) active: &'a ActiveConnection,
    pub(super) kind: &'a WebhookKind,
    pub(super) client: IpAddr,
    pub(super) headers: &'a HeaderMap,
    pub(super) extensions: &'a Extensions,
    pub(super) received_at: Timestamp,
}

/// The result of the checks of a request.
pub(super) struct WebhookAdmission {
    /// The body, if it was read.
    pub(super) body: Option<ReadBody>,
    /// The problem with which the request is refused; `None` if it is handled.
    pub(super) refused: Option<Problem>,
}

impl WebhookAdmission {
    /// Handles the request.
    pub(super) fn with_body(body: ReadBody) -> Self {
        Self { body: Some(body), refused: None }
    }

    /// Refuses the request, whose body is not read.
    fn refused(problem: Problem) -> Self {
        Self { body: None, refused: Some(problem) }
    }
}

impl UnreadRequest<'_> {
    /// Checks the sender and the rate, and reads the body if the request may be handled.
    pub(super) async fn admit(&self, app: &AppState, body: Body) -> WebhookAdmission {
        if let Err(problem) = sender::check_address(self.active, self.client) {
            return WebhookAdmission::refused(problem);
        }
        if *self.kind == WebhookKind::Probe {
            let counted = self.count_against(app, self.probe_rate());
            return self.read_unless_over_rate(counted, body).await;
        }
        match sender::check_headers(self.active, self.headers, self.received_at) {
            Ok(None) => {
                mark_known(self.extensions);
                let counted = self.count_against(app, self.sender_rate());
                self.read_unless_over_rate(counted, body).await
            }
            Ok(Some(pending)) => {
                let (body, sent) = body::read_sent(self.headers, body).await;
                let credential = pending.verify(&sent);
                self.admit_read(app, credential, body)
            }
            // If the body is empty, the request is a probe, which needs no credential.
            Err(problem) if *self.kind == WebhookKind::CreateOrProbe => {
                let body = body::read(self.headers, body).await;
                self.admit_read(app, Err(problem), body)
            }
            Err(problem) => WebhookAdmission::refused(problem),
        }
    }

    /// Reads the body, unless the connection is over its rate.
    async fn read_unless_over_rate(
        &self,
        counted: Result<(), Problem>,
        body: Body,
    ) -> WebhookAdmission {
        match counted {
            Ok(()) => WebhookAdmission::with_body(body::read(self.headers, body).await),
            Err(problem) => WebhookAdmission::refused(problem),
        }
    }

    /// Admits a request whose body was read, if it is a probe or its credential is valid.
    fn admit_read(
        &self,
        app: &AppState,
        credential: Result<(), Problem>,
        body: ReadBody,
    ) -> WebhookAdmission {
        let is_probe = self.kind.is_probe_with(&body);
        let counted = match (is_probe, credential) {
            (true, Err(_)) => self.count_against(app, RateKind::Probe),
            (_, credential) => credential.and_then(|()| {
                mark_known(self.extensions);
                self.count_against(app, self.sender_rate())
            }),
        };
        WebhookAdmission { body: Some(body), refused: counted.err() }
    }

    fn sender_rate(&self) -> RateKind {
        match self.kind {
            WebhookKind::CreateOrProbe | WebhookKind::Create => RateKind::Create,
            _ => RateKind::Other,
        }
    }

    fn probe_rate(&self) -> RateKind {
        let needs_credential = self.active.connection.webhook_auth.credential.is_some();
        if needs_credential { RateKind::Probe } else { RateKind::Other }
    }

    /// Counts the request against a rate of its connection.
    fn count_against(&self, app: &AppState, kind: RateKind) -> Result<(), Problem> {
        let id = self.active.connection.id;
        let config = app.services.config.now();
        let counted = app.rate_limits.count_request(&config.webhook, id, kind, Instant::now());
        counted.map_err(|wait: Duration| Problem::rate_limited(TOO_MANY_REQUESTS, wait))
    }
}
