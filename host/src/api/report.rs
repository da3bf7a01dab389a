//! `/connections/{id}/preview`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::Settings;

use super::FailedTest;

/// `POST /connections/{id}/preview`: what would be filed of a failed test.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviewReport {
    /// The failed test.
    pub failed_test: FailedTest,
    /// `markdown`, if absent.
    #[serde(default)]
    pub markup: Option<String>,
    /// Where description and comment are cut; absent: not at all.
    #[serde(default)]
    pub characters_max: Option<u32>,
    /// Members of the connection's `report` that are changed for this preview; `null` removes one.
    #[serde(default)]
    pub report: BTreeMap<String, Option<Value>>,
}

/// The answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReportPreview {
    /// The title, at most 255 characters.
    pub title: String,
    /// The markup of `description` and `comment`.
    pub markup: String,
    /// The text of the defect.
    pub description: String,
    /// The text of a comment, if the test fails again.
    pub comment: String,
    /// The fields of the tracker, in their order.
    pub fields: Vec<PreviewField>,
    /// The files.
    pub attachments: Vec<PreviewAttachment>,
    /// Settings of the connection that a routing rule replaces for this test.
    pub settings: Settings,
}

/// A field of the tracker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PreviewField {
    /// Its name.
    pub field: String,
    /// Its value: text or other JSON.
    pub value: Value,
}

/// A file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PreviewAttachment {
    /// `screenshot`, `robot-log` or `file`.
    pub kind: String,
    /// Its name in the tracker.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes, if it is known before the download.
    pub size: Option<u64>,
}
