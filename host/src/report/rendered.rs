//! Renders a report: the texts, fields and files of the defect for one failed test.

use super::data_limits::{clean, limit_lists, limited};
use super::engine::{self, Expanded, Mode};
use super::markup::{self, Document, Markup, TooSmall};
use super::{Attachment, Gap, Mask, ReportSettings, TestData, defaults};

/// The heading of the list of gaps.
const GAPS_HEADING: &str = "What is missing or incomplete here";
/// Maximum number of gaps in a text, and maximum number of characters of each gap.
const GAPS_MAX: usize = 20;
const GAP_CHARS_MAX: usize = 400;

/// Maximum size of the robot's log as a file, bytes.
const LOG_BYTES_MAX: usize = 1024 * 1024;

/// A field of the tracker with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name under which the person configured the field; the connector finds the tracker's
    /// field.
    pub name: String,
    /// The rendered value, which is never empty or null.
    pub value: FieldValue,
}

/// The value of a field. It is not escaped: the connector encodes it for its tracker.
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
    data: TestData,
    title: String,
    description: Document,
    comment: Document,
    fields: Vec<Field>,
    attachments: Vec<Attachment>,
    robot_log: String,
}

impl Report {
    /// Masks the data and renders the templates. A template that fails is replaced by the default,
    /// and a note in the texts says so.
    #[must_use]
    pub fn new(settings: &ReportSettings, data: TestData) -> Self {
        Self::with_notes(settings, data, &[])
    }

    /// As [`Self::new`]; description and comment also end with these notes for people.
    #[must_use]
    pub fn with_notes(settings: &ReportSettings, mut data: TestData, notes: &[String]) -> Self {
        let mut notes = notes.to_vec();
        mask(settings, &mut data, &mut notes);
        let robot_log = robot_log(&data);
        let (attachments, gaps) = settings.attachments.select(&data, robot_log.len() as u64);
        data.gaps.extend(gaps);
        limit_lists(&mut data);
        data.attachments.clone_from(&attachments);
        let gaps = gap_lines(&data.gaps);
        let mut writer =
            TemplateRenderer { context: engine::context(&limited(&data)), notes, gaps };
        let title = writer.text("title", settings.title_template.as_deref(), defaults::TITLE);
        let fields = writer.fields(settings);
        let mut write = |what, template: &Option<String>, default| {
            writer.document(what, template.as_deref(), default)
        };
        let mut description =
            write("description", &settings.description_template, defaults::DESCRIPTION);
        let mut comment = write("comment", &settings.comment_template, defaults::COMMENT);
        for note in &writer.notes {
            description.add_note(note);
            comment.add_note(note);
        }
        Self { data, title, description, comment, fields, attachments, robot_log }
    }

    /// The title, cut to this number of characters (Unicode scalar values).
    #[must_use]
    pub fn title(&self, characters_max: u32) -> String {
        let max = usize::try_from(characters_max).unwrap_or(usize::MAX);
        if self.title.chars().count() <= max {
            return self.title.clone();
        }
        let kept: String = self.title.chars().take(max.saturating_sub(1)).collect();
        if max == 0 { kept } else { format!("{}…", kept.trim_end()) }
    }

    /// Renders the description. If a marker is given, the first line contains it.
    ///
    /// # Errors
    /// The maximum is too small for the marker.
    pub fn description(
        &self,
        markup: Markup,
        characters_max: u32,
        marker: Option<&str>,
    ) -> Result<String, TooSmall> {
        markup::render(&self.description, markup, characters_max, marker)
    }

    /// Renders the comment on a recurrence. If a marker is given, the first line contains it.
    ///
    /// # Errors
    /// The maximum is too small for the marker.
    pub fn comment(
        &self,
        markup: Markup,
        characters_max: u32,
        marker: Option<&str>,
    ) -> Result<String, TooSmall> {
        markup::render(&self.comment, markup, characters_max, marker)
    }

    /// The connection's fields, in its order, without those that are empty or null.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The files for the tracker. The content of a robot log is [`Self::robot_log`].
    #[must_use]
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// The robot's log as a text file, masked.
    #[must_use]
    pub fn robot_log(&self) -> &str {
        &self.robot_log
    }

    /// The data, masked.
    #[must_use]
    pub fn data(&self) -> &TestData {
        &self.data
    }
}

/// Masks the data. If a pattern is not valid, all data that may contain secrets is removed.
fn mask(settings: &ReportSettings, data: &mut TestData, notes: &mut Vec<String>) {
    match Mask::new(&settings.mask) {
        Ok(mask) => mask.apply(data),
        Err(why) => {
            (data.log, data.assertions, data.robot_logs) = (None, Vec::new(), Vec::new());
            (data.steps, data.custom_fields) = (Vec::new(), Vec::new());
            notes
                .push(format!("Logs and arguments are left out, as they cannot be masked: {why}."));
        }
    }
}

/// Describes the gaps for people, one line for each.
fn gap_lines(gaps: &[Gap]) -> Vec<String> {
    let line = |gap: &Gap| {
        let text = clean(&format!("{}: {}", gap.what, gap.why));
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

/// The newest lines of the robot's log.
fn robot_log(data: &TestData) -> String {
    let (mut lines, mut bytes) = (Vec::new(), 0);
    for line in data.robot_logs.iter().rev() {
        let (at, level) = (line.at.as_deref(), line.level.as_deref());
        let parts = [at, level, Some(line.message.as_str())].into_iter().flatten();
        let text = parts.collect::<Vec<_>>().join(" ") + "\n";
        bytes += text.len();
        if bytes > LOG_BYTES_MAX {
            lines.push("… older lines are left out\n".to_owned());
            break;
        }
        lines.push(text);
    }
    lines.into_iter().rev().collect()
}

/// Renders templates with the data of one test.
struct TemplateRenderer {
    context: engine::Context,
    /// A note for people about each template that failed.
    notes: Vec<String>,
    /// The gaps, for texts whose template does not show them.
    gaps: Vec<String>,
}

impl TemplateRenderer {
    /// Renders a template to a text of one line.
    fn text(&mut self, what: &str, template: Option<&str>, default: &str) -> String {
        let expanded = self.expand(what, template, default, Mode::Text).text;
        expanded.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Renders a text in blocks. If the template does not show the gaps, they are added at the end.
    fn document(&mut self, what: &str, template: Option<&str>, default: &str) -> Document {
        let failed = self.notes.len();
        let mut document = Document::parse(&self.expand(what, template, default, Mode::Markdown));
        let own = template.filter(|_| self.notes.len() == failed);
        if !self.gaps.is_empty() && !own.is_some_and(shows_gaps) {
            document.add_list(GAPS_HEADING, &self.gaps);
        }
        document
    }

    /// Renders the template, or the default if the template fails.
    fn expand(&mut self, what: &str, own: Option<&str>, default: &str, mode: Mode) -> Expanded {
        if let Some(own) = own {
            match engine::expand(own, mode, &self.context) {
                Ok(expanded) => return expanded,
                Err(error) => self.notes.push(format!(
                    "The template of the {what} failed, and the default was used: {error}."
                )),
            }
        }
        engine::expand(default, mode, &self.context).unwrap_or_else(|error| Expanded {
            text: format!("The default {what} failed: {error}"),
            values: Vec::new(),
        })
    }

    fn fields(&mut self, settings: &ReportSettings) -> Vec<Field> {
        let mut fields = Vec::new();
        for field in &settings.fields {
            let (template, mode) = field.template();
            let value = match engine::expand(template, mode, &self.context) {
                Ok(expanded) => value(&expanded.text, mode).map_err(|error| error.to_string()),
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

/// Whether a template shows the gaps itself.
fn shows_gaps(template: &str) -> bool {
    let is_gaps = |name: &String| name.split('.').next() == Some("gaps");
    engine::names(template).is_ok_and(|names| names.iter().any(is_gaps))
}

/// The value of a field; `None` if the value is empty or null.
fn value(text: &str, mode: Mode) -> serde_json::Result<Option<FieldValue>> {
    if mode != Mode::Json {
        let text = text.trim();
        return Ok((!text.is_empty()).then(|| FieldValue::Text(text.to_owned())));
    }
    let json: serde_json::Value = serde_json::from_str(text)?;
    Ok((!json.is_null()).then(|| FieldValue::Json(json.to_string())))
}

#[cfg(test)]
mod tests;
