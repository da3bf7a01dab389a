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
    /// The markup of the rendered texts, such as `markdown`, which is the default.
    #[serde(default)]
    pub markup: Option<String>,
    /// The maximum length of each of the texts `description` and `comment`, characters. If absent,
    /// the length is not limited.
    #[serde(default)]
    pub characters_max: Option<u32>,
    /// The settings of the report that are changed for this preview, by name; `null` removes a
    /// setting. What the stored settings mask stays masked.
    #[serde(default)]
    pub report: BTreeMap<String, Option<Value>>,
}

/// The rendered report of a preview. A preview creates nothing in the tracker.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ReportPreview {
    /// The title of the defect, at most 255 characters.
    pub title: String,
    /// The name of the markup in which `description` and `comment` are written.
    pub markup: String,
    /// The description of the defect, written in the markup that `markup` names.
    pub description: String,
    /// The comment for a later failure of the same test case, written in the markup that `markup`
    /// names.
    pub comment: String,
    /// The fields of the tracker that the settings of the report fill, in the order of these
    /// settings.
    pub fields: Vec<PreviewField>,
    /// The files of the failed test that the settings of the report select, without their content.
    pub attachments: Vec<PreviewAttachment>,
    /// The settings of the connection that a routing rule changes for this failed test, with their
    /// new values; empty if no rule matches.
    pub settings: Settings,
}

/// A field of the tracker that the settings of the report fill.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PreviewField {
    /// The name of the field, as the settings of the report contain it.
    pub field: String,
    /// The rendered value of the field, as a text or as any other JSON value.
    pub value: Value,
}

/// A file of the failed test that the settings of the report select.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PreviewAttachment {
    /// The kind of file: `screenshot`, `robot-log` or `file`.
    pub kind: String,
    /// The file name in the tracker, without a path.
    pub name: String,
    /// The media type of the file, such as `image/png`.
    pub media_type: String,
    /// The size of the file, bytes; `null` if the size is not known before the download.
    pub size: Option<u64>,
}
