//! Handler of `/api/v1/connections/{id}/preview`, which renders the report of a failed test. It
//! never creates a defect.

use std::sync::Arc;

use axum::extract::State;
use serde_json::Value;

use crate::api::{PreviewAttachment, PreviewField, PreviewReport, ReportPreview};
use crate::connections::Preview;
use crate::domain::{FailedTest, StringEnum as _};
use crate::http::AppState;
use crate::http::problem::Problem;
use crate::json::Json;
use crate::report::{Field, FieldValue, Markup};

use super::{Body, Id, connection_id};

/// Maximum length of the title in a preview, characters. Many trackers have this limit.
const TITLE_CHARS_MAX: u32 = 255;

/// Answers `POST /connections/{id}/preview`.
pub(crate) async fn preview(
    State(app): State<Arc<AppState>>,
    Id(id): Id,
    Body(body): Body<PreviewReport>,
) -> Result<Json<ReportPreview>, Problem> {
    let id = connection_id(&app, &id)?;
    let markup = parse_markup(body.markup.as_deref())?;
    let characters_max = body.characters_max.unwrap_or(u32::MAX);
    let test = body.failed_test;
    let test =
        FailedTest::new(test.test_execution_id, test.test_case_id, test.variation_id, test.link);
    let preview = app.services.connections.preview(id, &test, body.report).await?;
    Ok(Json(render_preview(preview, markup, characters_max)?))
}

/// Parses the name of a markup; the default is Markdown.
fn parse_markup(name: Option<&str>) -> Result<Markup, Problem> {
    let name = name.unwrap_or(Markup::Markdown.as_str());
    Markup::parse(name).ok_or_else(|| {
        let allowed: Vec<_> = Markup::ALL.iter().map(|markup| markup.as_str()).collect();
        let why =
            format!("unknown markup {name:?}; the markup must be one of {}", allowed.join(", "));
        Problem::invalid_value("markup", why)
    })
}

/// The description and the comment have at most `characters_max` characters each.
pub(crate) fn render_preview(
    preview: Preview,
    markup: Markup,
    characters_max: u32,
) -> Result<ReportPreview, Problem> {
    let Preview { report, rule_settings } = preview;
    let too_small = |error: crate::report::TextLimitTooSmall| {
        Problem::invalid_value("characters_max", error.to_string())
    };
    let attachments = report.attachments().iter().map(|file| PreviewAttachment {
        kind: file.kind.to_string(),
        name: file.name.clone(),
        media_type: file.media_type.clone(),
        size: file.size,
    });
    Ok(ReportPreview {
        title: report.title(TITLE_CHARS_MAX),
        markup: markup.to_string(),
        description: report.description(markup, characters_max, None).map_err(too_small)?,
        comment: report.comment(markup, characters_max, None).map_err(too_small)?,
        fields: report.fields().iter().map(to_preview_field).collect(),
        attachments: attachments.collect(),
        settings: rule_settings,
    })
}

fn to_preview_field(field: &Field) -> PreviewField {
    let value = match &field.value {
        FieldValue::Text(text) => Value::String(text.clone()),
        FieldValue::Json(json) => serde_json::from_str(json).unwrap_or_default(),
    };
    PreviewField { field: field.name.clone(), value }
}
