//! The part of a connection's form about the report, and a preview of the rendered report.

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
use crate::http::admin::report::render_preview;
use crate::http::problem::Problem;
use crate::report::Markup;
use crate::store::DefectFilter;

use super::form::TextSource;
use super::input::{
    JSON_MEMBERS, TEMPLATE_MEMBERS, changed_report, read_field_rows, read_report_settings,
};
use super::{find_connection, schema};

/// Number of empty rows at the end of the field map, for new fields.
const EMPTY_ROWS: usize = 2;

#[derive(Debug)]
pub(super) struct ReportForm {
    pub(super) templates: Vec<Field>,
    /// Name of the tracker's field, kind, template.
    pub(super) field_map: Vec<[Field; 3]>,
    /// The fields in which a person enters JSON.
    pub(super) json_fields: Vec<Field>,
    /// The address to which the browser sends the form, to get the preview.
    pub(super) preview_href: String,
}

impl ReportForm {
    pub(super) fn new(texts: TextSource<'_>, preview_href: String) -> Self {
        let template = |(member, label, help): (&str, &str, &str)| {
            let name = format!("report.{member}");
            let value = texts
                .text(&name, |it| it.report.get(member).map(schema::form_text).unwrap_or_default());
            let rows = if member == "title_template" { 2 } else { 6 };
            Field::new(name, label, Control::Lines { value, rows }).help(help)
        };
        let json_field = |member: &str| {
            let name = format!("report.{member}");
            let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
            let value =
                texts.text(&name, |it| it.report.get(member).map(pretty).unwrap_or_default());
            Field::new(name, json_label(member), Control::Lines { value, rows: 4 })
        };
        Self {
            templates: TEMPLATE_TEXTS.map(template).to_vec(),
            field_map: field_map(texts),
            json_fields: JSON_MEMBERS.map(json_field).to_vec(),
            preview_href,
        }
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.templates.iter().chain(&self.json_fields).chain(self.field_map.iter().flatten())
    }

    pub(super) fn fields_mut(&mut self) -> impl Iterator<Item = &mut Field> {
        let map = self.field_map.iter_mut().flatten();
        self.templates.iter_mut().chain(&mut self.json_fields).chain(map)
    }
}

/// Member, label and help text.
const TEMPLATE_TEXTS: [(&str, &str, &str); 3] = [
    (
        TEMPLATE_MEMBERS[0],
        "Title",
        "A template. If it is empty, the title is the name, key and result of the test case.",
    ),
    (
        TEMPLATE_MEMBERS[1],
        "Description",
        "A template in Markdown. If it is empty, all known data of the failure is shown.",
    ),
    (
        TEMPLATE_MEMBERS[2],
        "Comment",
        "A template in Markdown for the comment if a test case fails again.",
    ),
];

fn json_label(member: &str) -> &'static str {
    match member {
        "mask" => "Masking, JSON",
        "attachments" => "Attachments, JSON",
        _ => "Routing rules, JSON",
    }
}

fn field_map(texts: TextSource<'_>) -> Vec<[Field; 3]> {
    let stored = texts.stored_connection.and_then(|it| it.report.get("fields")?.as_array());
    let rows: Vec<[String; 3]> = match texts.sent_form {
        Some(form) => read_field_rows(form).iter().map(row_texts).collect(),
        None => stored.into_iter().flatten().map(row_texts).collect(),
    };
    let empty = (0..EMPTY_ROWS).map(|_| [const { String::new() }; 3]);
    rows.into_iter().chain(empty).enumerate().map(|(row, texts)| row_fields(row, texts)).collect()
}

/// Returns the name of the field, the kind and the template.
fn row_texts(field: &Value) -> [String; 3] {
    let text = |name: &str| field.get(name).and_then(Value::as_str).map(str::to_owned);
    let kind = if field.get("json").is_some() { "json" } else { "text" };
    let template = text(kind).unwrap_or_default();
    [text("field").unwrap_or_default(), kind.to_owned(), template]
}

fn row_fields(row: usize, [name, kind, template]: [String; 3]) -> [Field; 3] {
    let options = [("text", "text"), ("json", "JSON")];
    let options = options.map(|(value, text)| (value.to_owned(), text.to_owned())).to_vec();
    let label = |text: &str| format!("{text} {}", row + 1);
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
    test_phrase: &'static str,
}

/// Renders the report of the last failed test of the connection, or else of an invented test, with
/// the report settings of the form.
pub(in crate::console) async fn preview_report(
    State(app): State<Arc<AppState>>,
    visitor: Visitor,
    Id(id): Id,
    form: Form,
) -> Result<Response, Problem> {
    let record = find_connection(&app, &visitor, &id)?;
    let report =
        read_report_settings(&form).map_err(crate::connections::ConnectionError::Invalid)?;
    let filter = DefectFilter {
        connection: Some(record.connection.id),
        limit: 1,
        ..DefectFilter::default()
    };
    let last_defect = app.services.store.defects(&filter).await?.into_iter().next();
    let test_phrase =
        if last_defect.is_some() { "the last failed test" } else { "an invented failed test" };
    let invented = || FailedTest::new(Uuid::nil(), Uuid::nil(), None, None);
    let test = last_defect.map_or_else(invented, |it| it.test);
    let report = changed_report(report, &record.connection.report);
    let preview = app.services.connections.preview(record.connection.id, &test, report).await?;
    let preview = render_preview(preview, Markup::Markdown, u32::MAX)?;
    render(&PreviewPart { preview, test_phrase })
}
