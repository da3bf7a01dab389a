//! Decides whether a webhook request of a connection is handled or refused. The sender is checked
//! before the rate, so that requests of refused senders never use up a rate of the connection.
//!
//! This module never reads the body of a request that is certain to be refused.

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

/// A webhook request of a connection, before its body is read.
pub(super) struct UnreadRequest<'a> {
    /// The connection whose token the request contains.
    pub(super) active: &'a ActiveConnection,
    /// The kind of the request by its method and path.
    pub(super) kind: &'a WebhookKind,
    pub(super) client: IpAddr,
    pub(super) headers: &'a HeaderMap,
    pub(super) extensions: &'a Extensions,
    /// The time when the head of the request was read.
    pub(super) received_at: Timestamp,
}

/// The result of checking a request.
pub(super) struct WebhookAdmission {
    /// The body; `None` if it was not read.
    pub(super) body: Option<ReadBody>,
    /// The problem with which the request is refused; `None` if the request is handled.
    pub(super) refusal: Option<Problem>,
}

impl WebhookAdmission {
    pub(super) fn accepted(body: ReadBody) -> Self {
        Self { body: Some(body), refusal: None }
    }

    fn refused_unread(problem: Problem) -> Self {
        Self { body: None, refusal: Some(problem) }
    }
}

impl UnreadRequest<'_> {
    /// Checks the sender and the rate, and reads the body if the request may be handled.
    pub(super) async fn admit(&self, app: &AppState, body: Body) -> WebhookAdmission {
        if let Err(problem) = sender::check_address(self.active, self.client) {
            return WebhookAdmission::refused_unread(problem);
        }
        if *self.kind == WebhookKind::Probe {
            let counted = self.count_against_rate(app, self.probe_rate_kind());
            return self.read_unless_over_rate(counted, body).await;
        }
        match sender::check_headers(self.active, self.headers, self.received_at) {
            Ok(None) => {
                mark_known(self.extensions);
                let counted = self.count_against_rate(app, self.sender_rate_kind());
                self.read_unless_over_rate(counted, body).await
            }
            Ok(Some(pending)) => {
                let (body, sent) = body::read_with_sent_bytes(self.headers, body).await;
                let credential = pending.verify(&sent);
                self.admit_with_body(app, credential, body)
            }
            // If the body is empty, the request is a probe, which needs no credential.
            Err(problem) if *self.kind == WebhookKind::CreateOrProbe => {
                let body = body::read(self.headers, body).await;
                self.admit_with_body(app, Err(problem), body)
            }
            Err(problem) => WebhookAdmission::refused_unread(problem),
        }
    }

    async fn read_unless_over_rate(
        &self,
        counted: Result<(), Problem>,
        body: Body,
    ) -> WebhookAdmission {
        match counted {
            Ok(()) => WebhookAdmission::accepted(body::read(self.headers, body).await),
            Err(problem) => WebhookAdmission::refused_unread(problem),
        }
    }

    /// Accepts a request whose body was read, if the request is a probe or has a valid credential,
    /// and does not exceed its rate.
    fn admit_with_body(
        &self,
        app: &AppState,
        credential: Result<(), Problem>,
        body: ReadBody,
    ) -> WebhookAdmission {
        let is_probe = self.kind.is_probe_with(&body);
        let counted = match (is_probe, credential) {
            (true, Err(_)) => self.count_against_rate(app, RateKind::Probe),
            (_, credential) => credential.and_then(|()| {
                mark_known(self.extensions);
                self.count_against_rate(app, self.sender_rate_kind())
            }),
        };
        WebhookAdmission { body: Some(body), refusal: counted.err() }
    }

    /// The rate that a request counts against if its sender is accepted.
    fn sender_rate_kind(&self) -> RateKind {
        match self.kind {
            WebhookKind::CreateOrProbe | WebhookKind::Create => RateKind::Create,
            _ => RateKind::Other,
        }
    }

    /// The rate of a request that is a probe by its method and path. Its credential is not checked.
    fn probe_rate_kind(&self) -> RateKind {
        let needs_credential = self.active.connection.webhook_auth.credential.is_some();
        if needs_credential { RateKind::Probe } else { RateKind::Other }
    }

    fn count_against_rate(&self, app: &AppState, kind: RateKind) -> Result<(), Problem> {
        let id = self.active.connection.id;
        let config = app.services.config.current();
        let counted = app.rate_limits.count_request(&config.webhook, id, kind, Instant::now());
        counted.map_err(|wait: Duration| Problem::rate_limited(TOO_MANY_REQUESTS, wait))
    }
}
