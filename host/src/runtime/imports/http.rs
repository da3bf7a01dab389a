//! Implements `jackfield:connector/http`: builds the guest's requests and passes them to the
//! `RunRequests` of the run. Never decides which addresses a guest may reach.

mod address;
mod body;
mod multipart;
mod text;

use bytes::Bytes;

use crate::domain::Effect;
use crate::egress::{HttpError, NoAnswer, OutboundRequest, OutboundResponse};
use crate::redact::TextKind;
use crate::runtime::bindings::http;
use crate::runtime::guest::Guest;

use body::Body;
use multipart::Part;

#[cfg(fuzzing)]
pub(crate) use address::build_request_address;

impl http::Host for Guest {
    async fn send(
        &mut self,
        request: http::Request,
    ) -> wasmtime::Result<Result<http::Response, http::HttpError>> {
        self.record_handles();
        let response: Result<_, HttpError> = async {
            let (method, effect) = (to_http_method(request.method), request.effect.map(Into::into));
            let attachments = request.body.as_ref().map(attachment_ids).unwrap_or_default();
            let response = match self.build_outbound_request(request, method.clone(), effect).await
            {
                Ok(request) => self.requests.send(request).await?,
                Err(why) => self.requests.refuse(&method, effect, why)?,
            };
            let OutboundResponse { status, url, headers, body, charge: response_charge } = response;
            if (200..300).contains(&status)
                && let Some(report) = self.report()
            {
                report.mark_attachments_accepted(attachments);
            }
            let memory = self.requests.memory();
            let (body, charge) = body.into_memory(memory).await?;
            drop(response_charge);
            let redact = |text| self.requests.redact_as(TextKind::Answer, text);
            let decoded = text::decode(&headers, body, charge, redact)?;
            self.returned_charge = Some(decoded.charge);
            Ok(http::Response { status, url, headers, text: decoded.text, bytes: decoded.bytes })
        }
        .await;
        Ok(response.map_err(Into::into))
    }
}

impl Guest {
    async fn build_outbound_request(
        &mut self,
        request: http::Request,
        method: ::http::Method,
        effect: Option<Effect>,
    ) -> Result<OutboundRequest, HttpError> {
        let http::Request { base, url, query, mut headers, body, .. } = request;
        let url = address::build_request_address(
            &url,
            base.as_deref(),
            &query,
            &self.input.base_addresses,
        )?;
        let Some(body) = body else {
            return Ok(OutboundRequest { method, effect, url, headers, body: Bytes::new() });
        };
        let body = self.fetch_attachments(body).await?;
        let (memory, limits) = (self.requests.memory(), self.requests.limits());
        let body = body::encode(body, &mut headers, memory, limits)?;
        Ok(OutboundRequest { method, effect, url, headers, body })
    }

    async fn fetch_attachments(&mut self, body: http::Body) -> Result<Body, HttpError> {
        Ok(match body {
            http::Body::Bytes(bytes) => Body::Bytes(bytes),
            http::Body::Json(text) => Body::Json(text),
            http::Body::Form(fields) => Body::Form(fields),
            http::Body::Multipart(guest_parts) => {
                let mut parts = Vec::with_capacity(guest_parts.len());
                for part in guest_parts {
                    parts.push(self.fetch_and_charge_part(part).await?);
                }
                Body::Multipart(parts)
            }
            http::Body::Attachment(id) => {
                let bytes_max = self.requests.limits().request_body_bytes;
                let attachment = self.fetch_attachment(id, bytes_max).await?;
                Body::Attachment(attachment.content, attachment.media_type)
            }
        })
    }

    /// If a part names an attachment, fetches its content. Charges the content of the part to the
    /// run.
    async fn fetch_and_charge_part(&mut self, part: http::Part) -> Result<Part, HttpError> {
        let http::Part { name, mut file_name, mut media_type, content } = part;
        let content = match content {
            http::Content::Bytes(bytes) => self.requests.memory().charge_body(bytes)?,
            http::Content::Text(text) => self.requests.memory().charge_body(text.into_bytes())?,
            http::Content::Attachment(id) => {
                let bytes_max = self.requests.limits().request_body_bytes;
                let attachment = self.fetch_attachment(id, bytes_max).await?;
                file_name.get_or_insert(attachment.name);
                media_type.get_or_insert(attachment.media_type);
                attachment.content
            }
        };
        Ok(Part { name, file_name, media_type, content })
    }
}

fn attachment_ids(body: &http::Body) -> Vec<u32> {
    let id = |part: &http::Part| match part.content {
        http::Content::Attachment(id) => Some(id),
        http::Content::Bytes(_) | http::Content::Text(_) => None,
    };
    match body {
        http::Body::Attachment(id) => vec![*id],
        http::Body::Multipart(parts) => parts.iter().filter_map(id).collect(),
        http::Body::Bytes(_) | http::Body::Json(_) | http::Body::Form(_) => Vec::new(),
    }
}

fn to_http_method(method: http::Method) -> ::http::Method {
    match method {
        http::Method::Get => ::http::Method::GET,
        http::Method::Head => ::http::Method::HEAD,
        http::Method::Options => ::http::Method::OPTIONS,
        http::Method::Post => ::http::Method::POST,
        http::Method::Put => ::http::Method::PUT,
        http::Method::Patch => ::http::Method::PATCH,
        http::Method::Delete => ::http::Method::DELETE,
    }
}

impl From<http::Effect> for Effect {
    fn from(effect: http::Effect) -> Self {
        match effect {
            http::Effect::Read => Self::Read,
            http::Effect::Prepare => Self::Prepare,
            http::Effect::Write => Self::Write,
        }
    }
}

impl From<HttpError> for http::HttpError {
    fn from(error: HttpError) -> Self {
        let (case, why) = error.into_parts();
        match case {
            NoAnswer::Denied => Self::Denied(why),
            NoAnswer::Limit => Self::Limit(why),
            NoAnswer::Unreachable => Self::Unreachable(why),
            NoAnswer::Interrupted => Self::Interrupted(why),
            NoAnswer::Invalid => Self::Invalid(why),
        }
    }
}
