//! Implements `jackfield:connector/report`: returns the texts, fields and attachments from which
//! the guest creates a defect or a comment.
//!
//! Outside `create`, `comment` and `attach`, all texts and lists are empty. In this interface, only
//! `read` returns an error of Test Manager to the guest.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::StringEnum;
use crate::egress::HttpError;
use crate::redact::TextKind;
use crate::report::{self as reports, Markup, Report, TextLimitTooSmall};
use crate::runtime::bindings::{import_error, model, report};
use crate::runtime::guest::Guest;
use crate::runtime::test_report::TestReport;

/// Maximum size of an attachment that a guest reads with `read`, bytes.
const ATTACHMENT_BYTES_MAX: u64 = 32 << 20;

/// An attachment with its content. The content is charged to the run.
pub(super) struct FetchedAttachment {
    pub(super) name: String,
    pub(super) media_type: String,
    pub(super) content: Bytes,
}

impl report::Host for Guest {
    async fn title(&mut self, max_characters: u32) -> wasmtime::Result<String> {
        let Some(report) = self.report() else { return Ok(String::new()) };
        let title = report.rendered().await.title(max_characters);
        Ok(self.redact_for_guest(title))
    }

    async fn description(
        &mut self,
        markup: String,
        max_characters: u32,
        marker: Option<String>,
    ) -> wasmtime::Result<Result<String, model::Error>> {
        let marker = marker.as_deref();
        let write = |report: &Report, markup| report.description(markup, max_characters, marker);
        Ok(self.render_text(&markup, write).await)
    }

    async fn comment(
        &mut self,
        markup: String,
        max_characters: u32,
        marker: String,
    ) -> wasmtime::Result<Result<String, model::Error>> {
        let marker = Some(marker.as_str());
        let write = |report: &Report, markup| report.comment(markup, max_characters, marker);
        Ok(self.render_text(&markup, write).await)
    }

    async fn fields(&mut self) -> wasmtime::Result<Vec<report::Field>> {
        let Some(report) = self.report() else { return Ok(Vec::new()) };
        let rendered = report.rendered().await;
        let value = |value: &reports::FieldValue| match value {
            reports::FieldValue::Text(text) => {
                report::FieldValue::Text(self.redact_for_guest(text.clone()))
            }
            reports::FieldValue::Json(text) => {
                report::FieldValue::Json(self.redact_for_guest(text.clone()))
            }
        };
        let fields = rendered.fields().iter();
        let fields = fields
            .map(|field| report::Field { name: field.name.clone(), value: value(&field.value) });
        Ok(fields.collect())
    }

    async fn attachments(&mut self) -> wasmtime::Result<Vec<report::Attachment>> {
        let Some(report) = self.report() else { return Ok(Vec::new()) };
        let attachments = report.rendered().await.attachments().iter().zip(0..);
        let attachments = attachments.map(|(attachment, id)| report::Attachment {
            id,
            kind: attachment.kind.to_string(),
            name: attachment.name.clone(),
            media_type: attachment.media_type.clone(),
            size: attachment.size.and_then(|bytes| u32::try_from(bytes).ok()),
        });
        Ok(attachments.collect())
    }

    async fn read(&mut self, id: u32) -> wasmtime::Result<Result<Vec<u8>, model::Error>> {
        let content = match self.fetch_attachment(id, ATTACHMENT_BYTES_MAX).await {
            Ok(downloaded) => downloaded.content,
            Err(HttpError::Invalid(why)) => {
                return Ok(Err(import_error(model::ErrorCode::Internal, why)));
            }
            Err(why) => {
                let why = why.to_string();
                return Ok(Err(import_error(model::ErrorCode::Unavailable, why)));
            }
        };
        let copy_charge = match self.requests.memory().charge(content.len() as u64) {
            Ok(charge) => charge,
            Err(full) => {
                let why = full.to_string();
                return Ok(Err(import_error(model::ErrorCode::Internal, why)));
            }
        };
        self.returned_charge = Some(copy_charge);
        Ok(Ok(content.to_vec()))
    }
}

impl Guest {
    /// Returns the report of the failed test, if the call has one.
    pub(super) fn report(&self) -> Option<Arc<TestReport>> {
        self.input.report.clone()
    }

    /// Masks the connection's secrets in a text of the report or of Test Manager. A robot may have
    /// logged a secret.
    pub(super) fn redact_for_guest(&self, text: String) -> String {
        self.requests.redact_as(TextKind::Answer, text)
    }

    async fn render_text(
        &mut self,
        markup: &str,
        write: impl FnOnce(&Report, Markup) -> Result<String, TextLimitTooSmall>,
    ) -> Result<String, model::Error> {
        let Some(markup) = Markup::parse(markup) else {
            let markups =
                Markup::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", ");
            let why = format!("the host does not write the markup {markup:?}; it writes {markups}");
            return Err(import_error(model::ErrorCode::Unsupported, why));
        };
        let Some(report) = self.report() else { return Ok(String::new()) };
        let text = write(report.rendered().await, markup);
        text.map(|text| self.redact_for_guest(text))
            .map_err(|too_small| import_error(model::ErrorCode::Internal, too_small.to_string()))
    }

    pub(super) async fn fetch_attachment(
        &mut self,
        id: u32,
        bytes_max: u64,
    ) -> Result<FetchedAttachment, HttpError> {
        let unknown_id = || HttpError::Invalid(format!("the report has no attachment {id}"));
        let report = self.report().ok_or_else(unknown_id)?;
        let attachment = report.attachment(id).await.ok_or_else(unknown_id)?;
        let content = report.attachment_content(attachment, bytes_max).await;
        let content =
            content.map_err(|gap| HttpError::Unreachable(format!("{}: {}", gap.what, gap.why)))?;
        let charge = self.requests.memory().charge(content.len() as u64)?;
        Ok(FetchedAttachment {
            name: attachment.name.clone(),
            media_type: attachment.media_type.clone(),
            content: charge.bind_to_body(content),
        })
    }
}
