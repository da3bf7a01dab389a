//! `jackfield:connector/http`: converts the guest's requests and hands them to the run's session.
//!
//! Applies no rule of its own: egress decides what is sent.

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
        Ok(self.session.send(request.into()).await.map(Into::into).map_err(Into::into))
    }
}

impl From<http::Request> for OutboundRequest {
    fn from(request: http::Request) -> Self {
        Self {
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
            body: request.body.unwrap_or_default().into(),
        }
    }
}

impl From<OutboundResponse> for http::Response {
    fn from(response: OutboundResponse) -> Self {
        Self { status: response.status, headers: response.headers, body: response.body.into() }
    }
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
