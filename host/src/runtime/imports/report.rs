//! `jackfield:connector/report`: the texts, fields and attachments of the defect to create.
//!
//! Outside `create`, `comment` and `attach`, everything is empty. An error of Test Manager is never
//! an error here: the texts name the data that could not be fetched.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::StringEnum;
use crate::egress::HttpError;
use crate::redact::TextKind;
use crate::report::{self as reports, Markup, Report, TooSmall};
use crate::runtime::bindings::{connector_error, model, report};
use crate::runtime::guest::Guest;
use crate::runtime::test_report::TestReport;

/// Maximum size of an attachment that a guest reads, bytes.
const READ_BYTES_MAX: u64 = 32 << 20;

/// An attachment with its content, charged to the run.
pub(super) struct Downloaded {
    pub(super) name: String,
    pub(super) media_type: String,
    pub(super) content: Bytes,
}

impl report::Host for Guest {
    async fn title(&mut self, max_characters: u32) -> wasmtime::Result<String> {
        let Some(report) = self.report() else { return Ok(String::new()) };
        let title = report.rendered().await.title(max_characters);
        Ok(self.clean(title))
    }

    async fn description(
        &mut self,
        markup: String,
        max_characters: u32,
        marker: Option<String>,
    ) -> wasmtime::Result<Result<String, model::Error>> {
        let marker = marker.as_deref();
        let write = |report: &Report, markup| report.description(markup, max_characters, marker);
        Ok(self.text(&markup, write).await)
    }

    async fn comment(
        &mut self,
        markup: String,
        max_characters: u32,
        marker: String,
    ) -> wasmtime::Result<Result<String, model::Error>> {
        let marker = Some(marker.as_str());
        let write = |report: &Report, markup| report.comment(markup, max_characters, marker);
        Ok(self.text(&markup, write).await)
    }

    async fn fields(&mut self) -> wasmtime::Result<Vec<report::Field>> {
        let Some(report) = self.report() else { return Ok(Vec::new()) };
        let rendered = report.rendered().await;
        let value = |value: &reports::FieldValue| match value {
            reports::FieldValue::Text(text) => report::FieldValue::Text(self.clean(text.clone())),
            reports::FieldValue::Json(text) => report::FieldValue::Json(self.clean(text.clone())),
        };
        let fields = rendered.fields().iter();
        let fields = fields
            .map(|field| report::Field { name: field.name.clone(), value: value(&field.value) });
        Ok(fields.collect())
    }

    async fn attachments(&mut self) -> wasmtime::Result<Vec<report::Attachment>> {
        let Some(report) = self.report() else { return Ok(Vec::new()) };
        let listed = report.rendered().await.attachments().iter().zip(0..);
        let listed = listed.map(|(attachment, id)| report::Attachment {
            id,
            kind: attachment.kind.to_string(),
            name: attachment.name.clone(),
            media_type: attachment.media_type.clone(),
            size: attachment.size.and_then(|bytes| u32::try_from(bytes).ok()),
        });
        Ok(listed.collect())
    }

    async fn read(&mut self, id: u32) -> wasmtime::Result<Result<Vec<u8>, model::Error>> {
        let downloaded = match self.download(id, READ_BYTES_MAX).await {
            Ok(downloaded) => downloaded.content,
            Err(HttpError::Invalid(why)) => {
                return Ok(Err(connector_error(model::ErrorCode::Internal, why)));
            }
            Err(why) => {
                let why = why.to_string();
                return Ok(Err(connector_error(model::ErrorCode::Unavailable, why)));
            }
        };
        let copy = match self.session.memory().charge(downloaded.len() as u64) {
            Ok(charge) => charge,
            Err(full) => {
                let why = full.to_string();
                return Ok(Err(connector_error(model::ErrorCode::Internal, why)));
            }
        };
        self.returned = Some(copy);
        Ok(Ok(downloaded.to_vec()))
    }
}

impl Guest {
    /// The report of the run; `None` outside `create`, `comment` and `attach`.
    pub(super) fn report(&self) -> Option<Arc<TestReport>> {
        self.input.report.clone()
    }

    /// Removes the connection's secrets from a text: a robot may have logged them.
    pub(super) fn clean(&self, text: String) -> String {
        self.session.redact_as(TextKind::Answer, text)
    }

    async fn text(
        &mut self,
        markup: &str,
        write: impl FnOnce(&Report, Markup) -> Result<String, TooSmall>,
    ) -> Result<String, model::Error> {
        let Some(markup) = Markup::parse(markup) else {
            let known = Markup::ALL.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(", ");
            let why = format!("{markup:?} is not a markup that the host writes; it writes {known}");
            return Err(connector_error(model::ErrorCode::Unsupported, why));
        };
        let Some(report) = self.report() else { return Ok(String::new()) };
        let text = write(report.rendered().await, markup);
        text.map(|text| self.clean(text))
            .map_err(|small| connector_error(model::ErrorCode::Internal, small.to_string()))
    }

    /// Fetches an attachment of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// `Invalid` if the report has no attachment with this id, `Unreachable` if it cannot be
    /// fetched, `Limit` if the run does not have enough memory left.
    pub(super) async fn download(
        &mut self,
        id: u32,
        bytes_max: u64,
    ) -> Result<Downloaded, HttpError> {
        let none = || HttpError::Invalid(format!("the report has no attachment {id}"));
        let report = self.report().ok_or_else(none)?;
        let attachment = report.attachment(id).await.ok_or_else(none)?;
        let content = report.content(attachment, bytes_max).await;
        let content =
            content.map_err(|gap| HttpError::Unreachable(format!("{}: {}", gap.what, gap.why)))?;
        let charge = self.session.memory().charge(content.len() as u64)?;
        Ok(Downloaded {
            name: attachment.name.clone(),
            media_type: attachment.media_type.clone(),
            content: charge.hold(content),
        })
    }
}
