//! The part of the form about the report: templates, field map, and their preview.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use uuid::Uuid;

use crate::api::ReportPreview;
use crate::console::form::Form;
use crate::console::frame::Visitor;
use crate::console::page::render;
use crate::console::parts::{Control, Field};
use crate::domain::FailedTest;
use crate::http::AppState;
use crate::http::admin::Id;
use crate::http::admin::report::shown_preview;
use crate::http::problem::Problem;
use crate::report::Markup;
use crate::store::DefectFilter;

use super::form::Texts;
use super::input::{JSON_MEMBERS, TEMPLATES, changed_report, field_rows, report_of};
use super::{found, schema};

/// Number of empty rows below the field map.
const EMPTY_ROWS: usize = 2;

/// The fields of the report.
#[derive(Debug)]
pub(super) struct ReportForm {
    pub(super) templates: Vec<Field>,
    pub(super) map: Vec<[Field; 3]>,
    pub(super) others: Vec<Field>,
    /// Where a preview is rendered.
    pub(super) preview: String,
}

impl ReportForm {
    pub(super) fn new(texts: Texts<'_>, preview: String) -> Self {
        let template = |(member, label, help): (&str, &str, &str)| {
            let name = format!("report.{member}");
            let value = texts
                .text(&name, |it| it.report.get(member).map(schema::shown).unwrap_or_default());
            let rows = if member == "title_template" { 2 } else { 6 };
            Field::new(name, label, Control::Lines { value, rows }).help(help)
        };
        let json = |member: &str| {
            let name = format!("report.{member}");
            let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
            let value =
                texts.text(&name, |it| it.report.get(member).map(pretty).unwrap_or_default());
            Field::new(name, title(member), Control::Lines { value, rows: 4 })
        };
        Self {
            templates: LABELS.map(template).to_vec(),
            map: map(texts),
            others: JSON_MEMBERS.map(json).to_vec(),
            preview,
        }
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.templates.iter().chain(&self.others).chain(self.map.iter().flatten())
    }

    pub(super) fn fields_mut(&mut self) -> impl Iterator<Item = &mut Field> {
        self.templates.iter_mut().chain(&mut self.others).chain(self.map.iter_mut().flatten())
    }
}

const LABELS: [(&str, &str, &str); 3] = [
    (TEMPLATES[0], "Title", "A template. Empty: name, key and result of the test case."),
    (TEMPLATES[1], "Description", "A template in Markdown. Empty: what is known of the failure."),
    (TEMPLATES[2], "Comment", "For a test case that fails again, in Markdown."),
];

fn title(member: &str) -> &'static str {
    match member {
        "mask" => "Masking, JSON",
        "attachments" => "Attachments, JSON",
        _ => "Routing rules, JSON",
    }
}

/// The rows of the field map: name, kind and template.
fn map(texts: Texts<'_>) -> Vec<[Field; 3]> {
    let stored = texts.stored.and_then(|it| it.report.get("fields")?.as_array());
    let rows: Vec<[String; 3]> = match texts.form {
        Some(form) => field_rows(form).iter().map(stored_row).collect(),
        None => stored.into_iter().flatten().map(stored_row).collect(),
    };
    let empty = (0..EMPTY_ROWS).map(|_| [const { String::new() }; 3]);
    rows.into_iter().chain(empty).enumerate().map(|(row, texts)| row_fields(row, texts)).collect()
}

fn stored_row(field: &Value) -> [String; 3] {
    let text = |name: &str| field.get(name).and_then(Value::as_str).map(str::to_owned);
    let kind = if field.get("json").is_some() { "json" } else { "text" };
    let template = text(kind).unwrap_or_default();
    [text("field").unwrap_or_default(), kind.to_owned(), template]
}

fn row_fields(row: usize, [name, kind, template]: [String; 3]) -> [Field; 3] {
    let options = [("text", "text"), ("json", "JSON")];
    let options = options.map(|(value, text)| (value.to_owned(), text.to_owned())).to_vec();
    let label = |part: &str| format!("{part} {}", row + 1);
    [
        Field::text(format!("field.{row}.name"), label("Field"), name),
        Field::new(
            format!("field.{row}.kind"),
            label("Kind of field"),
            Control::Select { value: kind, options },
        ),
        Field::new(
            format!("field.{row}.template"),
            label("Template of field"),
            Control::Lines { value: template, rows: 1 },
        ),
    ]
}

#[derive(Template)]
#[template(path = "console/connections/preview.html")]
struct PreviewPart {
    preview: ReportPreview,
    of: &'static str,
}

/// Answers with the rendered report, as it would be for the last failed test of the connection.
pub(in crate::console) async fn preview(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Result<Response, Problem> {
    let record = found(&app, &visitor, &id)?;
    let report = report_of(&form).map_err(crate::connections::ConnectionError::Invalid)?;
    let filter = DefectFilter {
        connection: Some(record.connection.id),
        limit: 1,
        ..DefectFilter::default()
    };
    let last = app.services.store.defects(&filter).await?.into_iter().next();
    let of = if last.is_some() { "the last failed test" } else { "a test that does not exist" };
    let none = || FailedTest::new(Uuid::nil(), Uuid::nil(), None, None);
    let test = last.map_or_else(none, |it| it.test);
    let report = changed_report(report, &record.connection.report);
    let preview = app.services.connections.preview(record.connection.id, &test, report).await?;
    let preview = shown_preview(preview, Markup::Markdown, u32::MAX)?;
    render(&PreviewPart { preview, of })
}
