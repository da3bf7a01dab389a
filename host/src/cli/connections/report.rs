//! The report settings of a connection: the arguments that set them, and
//! `jackfield connections preview`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::Value;
use uuid::Uuid;

use crate::api::{FailedTest, PreviewReport, ReportPreview};
use crate::cli::client::{Answer, Client};
use crate::cli::output::{Output, print};
use crate::domain::printable;

#[derive(Args, Default)]
pub(super) struct ReportArguments {
    /// Set the report from a TOML or JSON file: title_template, description_template,
    /// comment_template, fields, mask, attachments, routing
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Set the template of a defect's title, or @FILE; an empty template restores the default
    #[arg(long, value_name = "TEMPLATE|@FILE")]
    title_template: Option<String>,
    /// Set the template of a defect's description, or @FILE
    #[arg(long, value_name = "TEMPLATE|@FILE")]
    description_template: Option<String>,
    /// Set the template of the comment that is added if a test fails again, or @FILE
    #[arg(long, value_name = "TEMPLATE|@FILE")]
    comment_template: Option<String>,
}

impl ReportArguments {
    /// Returns the report settings of an edit. The value `None` removes a setting.
    pub(super) fn to_edit(&self) -> anyhow::Result<BTreeMap<String, Option<Value>>> {
        let mut edit = match &self.report {
            Some(path) => {
                read_settings(path)?.into_iter().map(|(name, value)| (name, Some(value))).collect()
            }
            None => BTreeMap::new(),
        };
        for (member, option) in [
            ("title_template", &self.title_template),
            ("description_template", &self.description_template),
            ("comment_template", &self.comment_template),
        ] {
            if let Some(text) = option {
                let template = read_template(text)?;
                let value = (!template.is_empty()).then_some(Value::String(template));
                edit.insert(member.to_owned(), value);
            }
        }
        Ok(edit)
    }

    pub(super) fn to_settings(&self) -> anyhow::Result<serde_json::Map<String, Value>> {
        let edit = self.to_edit()?.into_iter();
        Ok(edit.filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

fn read_template(text: &str) -> anyhow::Result<String> {
    match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("cannot read {path}")),
        None => Ok(text.to_owned()),
    }
}

fn read_settings(path: &Path) -> anyhow::Result<serde_json::Map<String, Value>> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let settings = if is_json {
        serde_json::from_str(&text).map_err(anyhow::Error::from)
    } else {
        toml::from_str(&text).map_err(anyhow::Error::from)
    };
    settings.with_context(|| format!("cannot read the settings in {}", path.display()))
}

#[derive(Args)]
pub(in crate::cli) struct Preview {
    /// The name or id of the connection
    name: String,
    /// testExecutionId of the failed test
    #[arg(long, value_name = "UUID")]
    execution: Uuid,
    /// testCaseId of the failed test
    #[arg(long, value_name = "UUID")]
    case: Uuid,
    /// variationId of the failed test
    #[arg(long, value_name = "TEXT")]
    variation: Option<String>,
    /// linkToTestCaseLog of the failed test
    #[arg(long, value_name = "URL")]
    link: Option<String>,
    /// The markup of the description: plain, markdown, html, textile, jira-wiki, adf or tracwiki
    /// [default: markdown]
    #[arg(long, value_name = "MARKUP")]
    markup: Option<String>,
    /// Cut the description after this number of characters
    #[arg(long, value_name = "CHARACTERS")]
    characters_max: Option<u32>,
    #[command(flatten)]
    report: ReportArguments,
}

impl Preview {
    pub(super) fn run(self, admin: &Client, output: Output) -> anyhow::Result<()> {
        let path = format!("{}/preview", admin.connection_path(&self.name)?);
        let body = PreviewReport {
            failed_test: FailedTest {
                test_execution_id: self.execution,
                test_case_id: self.case,
                variation_id: self.variation,
                link: self.link,
            },
            markup: self.markup,
            characters_max: self.characters_max,
            report: self.report.to_edit()?,
        };
        let answer: Answer<ReportPreview> = admin.post(&path, &body)?;
        if output.is_json {
            output.print_record(answer.json());
        } else {
            print(&describe_preview(&answer.decode()?));
        }
        Ok(())
    }
}

/// The description comes last, because it can be long.
fn describe_preview(preview: &ReportPreview) -> String {
    let mut lines = vec![format!("Title: {}", printable(&preview.title))];
    for (name, value) in &preview.settings {
        lines.push(format!(
            "Setting {}: {}",
            printable(name),
            printable(&text_without_quotes(value))
        ));
    }
    for field in &preview.fields {
        let value = printable(&text_without_quotes(&field.value));
        lines.push(format!("Field {}: {value}", printable(&field.field)));
    }
    for file in &preview.attachments {
        let size = file.size.map(|size| format!(", {size} bytes")).unwrap_or_default();
        let attachment = format!("{} ({}{size})", file.name, file.kind);
        lines.push(format!("Attachment: {}", printable(&attachment)));
    }
    lines.push(format!("Description ({}):\n", printable(&preview.markup)));
    lines.extend(preview.description.lines().map(printable));
    lines.join("\n")
}

fn text_without_quotes(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
