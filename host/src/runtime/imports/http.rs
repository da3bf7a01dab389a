//! `jackfield:connector/http`: converts the guest's requests and hands them to the run's session.
//!
//! Applies no rule of its own: egress decides what is sent.

use bytes::Bytes;

use crate::domain::Effect;
use crate::egress::{HttpError, OutboundRequest, OutboundResponse};
use crate::runtime::bindings::http;
use crate::runtime::guest::Guest;

impl http::Host for Guest {
    async fn send(
        &mut self,
        request: http::Request,
    ) -> wasmtime::Result<Result<http::Response, http::HttpError>> {
        self.record_handles();
        Ok(self.exchange(request).await.map_err(Into::into))
    }
}

impl Guest {
    async fn exchange(&mut self, request: http::Request) -> Result<http::Response, HttpError> {
        let memory = self.session.memory();
        let (request, body) = outbound(request);
        let body = memory.hold(body)?;
        let response = self.session.send(OutboundRequest { body, ..request }).await?;
        let OutboundResponse { status, headers, body, held } = response;
        let (body, charge) = body.into_memory(memory).await?;
        drop(held);
        self.returned = Some(charge);
        Ok(http::Response { status, headers, body })
    }
}

/// The request without its body, and the body.
fn outbound(request: http::Request) -> (OutboundRequest, Vec<u8>) {
    let head = OutboundRequest {
        method: match request.method {
            http::Method::Get => ::http::Method::GET,
            http::Method::Head => ::http::Method::HEAD,
            http::Method::Options => ::http::Method::OPTIONS,
            http::Method::Post => ::http::Method::POST,
            http::Method::Put => ::http::Method::PUT,
            http::Method::Patch => ::http::Method::PATCH,
            http::Method::Delete => ::http::Method::DELETE,
        },
        effect: request.effect.map(|effect| match effect {
            http::Effect::Read => Effect::Read,
            http::Effect::Prepare => Effect::Prepare,
            http::Effect::Write => Effect::Write,
        }),
        url: request.url,
        headers: request.headers,
        body: Bytes::new(),
    };
    (head, request.body.unwrap_or_default())
}

impl From<HttpError> for http::HttpError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Denied(why) => Self::Denied(why),
            HttpError::Limit(why) => Self::Limit(why),
            HttpError::Unreachable(why) => Self::Unreachable(why),
            HttpError::Interrupted(why) => Self::Interrupted(why),
            HttpError::Invalid(why) => Self::Invalid(why),
        }
    }
}
