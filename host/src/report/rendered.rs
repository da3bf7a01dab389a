//! Renders a report: the texts, fields and files of the defect for one failed test. Never does I/O.

use super::data_limits::{clean_text, limit_lists, to_limited_json};
use super::engine::{self, ExpandedTemplate, OutputMode};
use super::markup::{self, Document, Markup, TextLimitTooSmall};
use super::{Attachment, Gap, Mask, ReportSettings, TestData, defaults};

const GAPS_HEADING: &str = "What is missing or incomplete here";
const GAPS_MAX: usize = 20;
/// Maximum length of the text of a gap without its ellipsis, characters.
const GAP_CHARS_MAX: usize = 400;

/// Maximum size of the robot's log as a file, bytes. A note about older lines is not counted.
const ROBOT_LOG_BYTES_MAX: usize = 1024 * 1024;

/// A field of the tracker with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name that a person configured.
    pub name: String,
    /// The rendered value: a text that is not empty, or JSON that is not null.
    pub value: FieldValue,
}

/// The value of a field, which is not escaped, because the connector encodes the value for its
/// tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// Plain text.
    Text(String),
    /// JSON of any type, as text.
    Json(String),
}

/// The content of a defect, rendered from the templates of a connection.
#[derive(Debug)]
pub struct Report {
    /// The data, masked and with limited lists.
    data: TestData,
    title: String,
    description: Document,
    /// The comment that is added to the defect if the test fails again.
    comment: Document,
    fields: Vec<Field>,
    attachments: Vec<Attachment>,
    /// The newest lines of the robot's log, as the content of a text file.
    robot_log: String,
}

impl Report {
    /// Masks the data and renders the templates. If a template fails, its default is used, or its
    /// field is left out. A note in the description and in the comment reports each failure.
    #[must_use]
    pub fn new(settings: &ReportSettings, data: TestData) -> Self {
        Self::with_notes(settings, data, &[])
    }

    /// Does the same as [`Self::new`], and adds these notes for people at the end of the
    /// description and of the comment.
    #[must_use]
    pub fn with_notes(settings: &ReportSettings, mut data: TestData, notes: &[String]) -> Self {
        let mut notes = notes.to_vec();
        mask_data(settings, &mut data, &mut notes);
        let robot_log = robot_log_text(&data);
        let (attachments, gaps) = settings.attachments.select(&data, robot_log.len() as u64);
        data.gaps.extend(gaps);
        limit_lists(&mut data);
        data.attachments.clone_from(&attachments);
        let gaps = gap_lines(&data.gaps);
        let mut renderer = TemplateRenderer {
            context: engine::template_context(&to_limited_json(&data)),
            notes,
            gaps,
        };
        let title =
            renderer.render_line("title", settings.title_template.as_deref(), defaults::TITLE);
        let fields = renderer.render_fields(settings);
        let mut render_document = |text_name, template: &Option<String>, default| {
            renderer.render_document(text_name, template.as_deref(), default)
        };
        let mut description =
            render_document("description", &settings.description_template, defaults::DESCRIPTION);
        let mut comment = render_document("comment", &settings.comment_template, defaults::COMMENT);
        for note in &renderer.notes {
            description.add_note(note);
            comment.add_note(note);
        }
        Self { data, title, description, comment, fields, attachments, robot_log }
    }

    /// Returns the title, cut to at most `characters_max` characters (Unicode scalar values).
    #[must_use]
    pub fn title(&self, characters_max: u32) -> String {
        let max = usize::try_from(characters_max).unwrap_or(usize::MAX);
        if self.title.chars().count() <= max {
            return self.title.clone();
        }
        let kept: String = self.title.chars().take(max.saturating_sub(1)).collect();
        if max == 0 { kept } else { format!("{}…", kept.trim_end()) }
    }

    /// Renders the description, cut to at most `characters_max` characters. If a marker is given,
    /// the first line contains it.
    ///
    /// # Errors
    /// The maximum is too small for the marker.
    pub fn description(
        &self,
        markup: Markup,
        characters_max: u32,
        marker: Option<&str>,
    ) -> Result<String, TextLimitTooSmall> {
        markup::render(&self.description, markup, characters_max, marker)
    }

    /// Renders the comment on a recurrence, cut to at most `characters_max` characters. If a marker
    /// is given, the first line contains it.
    ///
    /// # Errors
    /// The maximum is too small for the marker.
    pub fn comment(
        &self,
        markup: Markup,
        characters_max: u32,
        marker: Option<&str>,
    ) -> Result<String, TextLimitTooSmall> {
        markup::render(&self.comment, markup, characters_max, marker)
    }

    /// Returns the fields that the connection configures, in the configured order. A field is left
    /// out if its text is empty, its JSON is null, or its template failed.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Returns the files for the tracker. [`Self::robot_log`] returns the content of the file of
    /// the kind `RobotLog`.
    #[must_use]
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// Returns the newest lines of the robot's log, masked, as the content of a text file.
    #[must_use]
    pub fn robot_log(&self) -> &str {
        &self.robot_log
    }

    /// Returns the masked data of the failed test.
    #[must_use]
    pub fn data(&self) -> &TestData {
        &self.data
    }
}

/// Masks the data. If the mask settings are not valid, removes the data that a mask could change.
fn mask_data(settings: &ReportSettings, data: &mut TestData, notes: &mut Vec<String>) {
    match Mask::new(&settings.mask) {
        Ok(mask) => mask.apply(data),
        Err(why) => {
            (data.log, data.assertions, data.robot_logs) = (None, Vec::new(), Vec::new());
            (data.steps, data.custom_fields) = (Vec::new(), Vec::new());
            let omitted = "Logs, arguments, assertions, steps and custom fields are left out";
            notes.push(format!("{omitted}, because they cannot be masked: {why}."));
        }
    }
}

/// Describes the first gaps for people, and then the number of further gaps.
fn gap_lines(gaps: &[Gap]) -> Vec<String> {
    let line = |gap: &Gap| {
        let text = clean_text(&format!("{}: {}", gap.what, gap.why));
        match text.char_indices().nth(GAP_CHARS_MAX) {
            Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
            None => text,
        }
    };
    let mut lines: Vec<_> = gaps.iter().take(GAPS_MAX).map(line).collect();
    if gaps.len() > GAPS_MAX {
        lines.push(format!("… and {} more", gaps.len() - GAPS_MAX));
    }
    lines
}

fn robot_log_text(data: &TestData) -> String {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    for line in data.robot_logs.iter().rev() {
        let (at, level) = (line.at.as_deref(), line.level.as_deref());
        let parts = [at, level, Some(line.message.as_str())].into_iter().flatten();
        let text = parts.collect::<Vec<_>>().join(" ") + "\n";
        bytes += text.len();
        if bytes > ROBOT_LOG_BYTES_MAX {
            lines.push("… older lines are left out\n".to_owned());
            break;
        }
        lines.push(text);
    }
    lines.into_iter().rev().collect()
}

/// Renders templates with the data of one test.
struct TemplateRenderer {
    context: engine::TemplateContext,
    /// The notes for people, for example about each template that failed.
    notes: Vec<String>,
    /// The gaps as texts, which are added to each document whose template does not show them.
    gaps: Vec<String>,
}

impl TemplateRenderer {
    fn render_line(&mut self, text_name: &str, template: Option<&str>, default: &str) -> String {
        let expanded = self.expand_or_default(text_name, template, default, OutputMode::Text).text;
        expanded.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Adds the gaps at the end if the template does not show them.
    fn render_document(
        &mut self,
        text_name: &str,
        template: Option<&str>,
        default: &str,
    ) -> Document {
        let notes_before = self.notes.len();
        let mut document = Document::parse(&self.expand_or_default(
            text_name,
            template,
            default,
            OutputMode::Markdown,
        ));
        let rendered = template.filter(|_| self.notes.len() == notes_before);
        if !self.gaps.is_empty() && !rendered.is_some_and(shows_gaps) {
            document.add_list(GAPS_HEADING, &self.gaps);
        }
        document
    }

    fn expand_or_default(
        &mut self,
        text_name: &str,
        template: Option<&str>,
        default: &str,
        mode: OutputMode,
    ) -> ExpandedTemplate {
        if let Some(template) = template {
            match engine::expand(template, mode, &self.context) {
                Ok(expanded) => return expanded,
                Err(error) => self.notes.push(format!(
                    "The template of the {text_name} failed, and the default was used: {error}."
                )),
            }
        }
        engine::expand(default, mode, &self.context).unwrap_or_else(|error| ExpandedTemplate {
            text: format!("The default {text_name} failed: {error}"),
            values: Vec::new(),
        })
    }

    /// If the template of a field fails, leaves the field out and adds a note.
    fn render_fields(&mut self, settings: &ReportSettings) -> Vec<Field> {
        let mut fields = Vec::new();
        for field in &settings.fields {
            let (template, mode) = field.template();
            let value = match engine::expand(template, mode, &self.context) {
                Ok(expanded) => {
                    parse_field_value(&expanded.text, mode).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            let name = field.field.clone();
            match value {
                Ok(Some(value)) => fields.push(Field { name, value }),
                Ok(None) => {}
                Err(error) => self.notes.push(format!(
                    "The template of the field {name} failed, and the field was left out: {error}."
                )),
            }
        }
        fields
    }
}

fn shows_gaps(template: &str) -> bool {
    let is_gaps = |name: &String| name.split('.').next() == Some("gaps");
    engine::used_names(template).is_ok_and(|names| names.iter().any(is_gaps))
}

/// Reads the value of a field from an expanded template. Returns `None` for an empty text, and for
/// the JSON value null.
fn parse_field_value(text: &str, mode: OutputMode) -> serde_json::Result<Option<FieldValue>> {
    if mode != OutputMode::Json {
        let text = text.trim();
        return Ok((!text.is_empty()).then(|| FieldValue::Text(text.to_owned())));
    }
    let json: serde_json::Value = serde_json::from_str(text)?;
    Ok((!json.is_null()).then(|| FieldValue::Json(json.to_string())))
}

#[cfg(test)]
mod tests;
