//! Types of `/connections/{id}/preview`, which renders a report without creating a defect.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::Settings;

use super::FailedTest;

/// The body of `POST /connections/{id}/preview`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewReport {
    /// The failed test whose report is rendered.
    pub failed_test: FailedTest,
    /// The markup of the texts; `markdown` if absent.
    #[serde(default)]
    pub markup: Option<String>,
    /// Maximum length of description and comment, characters; no maximum if absent.
    #[serde(default)]
    pub characters_max: Option<u32>,
    /// Members of the connection's `report` that are changed for this preview; `null` removes a
    /// member.
    #[serde(default)]
    pub report: BTreeMap<String, Option<Value>>,
}

/// The rendered report. Nothing is created in the tracker.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReportPreview {
    /// The title, at most 255 characters.
    pub title: String,
    /// The markup of `description` and `comment`.
    pub markup: String,
    /// The description of the defect, in `markup`.
    pub description: String,
    /// The comment for a later failure of the same test case, in `markup`.
    pub comment: String,
    /// The configured fields with their values, in order.
    pub fields: Vec<PreviewField>,
    /// The files that would be sent, without their content.
    pub attachments: Vec<PreviewAttachment>,
    /// The settings that a routing rule replaces for this test; empty if no rule matches.
    pub settings: Settings,
}

/// A configured field of the tracker.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PreviewField {
    /// The name of the field, as the person configured it.
    pub field: String,
    /// The rendered value: a text or other JSON.
    pub value: Value,
}

/// A file that would be sent to the tracker.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PreviewAttachment {
    /// The kind of file: `screenshot`, `robot-log` or `file`.
    pub kind: String,
    /// The file name in the tracker, without a path.
    pub name: String,
    /// The media type, such as `image/png`.
    pub media_type: String,
    /// Size in bytes; absent if it is not known before the download.
    pub size: Option<u64>,
}
