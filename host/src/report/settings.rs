//! The report settings of a connection: reads and checks the JSON object `report`. Never renders a
//! report of a real test.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{Settings, nearest};

use super::engine::{self, OutputMode, TEMPLATE_BYTES_MAX, TemplateError};
use super::markup::placeholder;
use super::{
    AttachmentPolicy, Mask, MaskSettings, RoutingRule, Subject, TestData, defaults, names,
    sample_test_data,
};

const FIELDS_MAX: usize = 100;
const FIELD_NAME_CHARS_MAX: usize = 200;
const ROUTING_RULES_MAX: usize = 100;
/// Maximum size of all report settings of a connection together as JSON, bytes.
const SETTINGS_BYTES_MAX: usize = 256 * 1024;
const SETTING_NAMES: [&str; 7] = [
    "title_template",
    "description_template",
    "comment_template",
    "fields",
    "mask",
    "attachments",
    "routing",
];

/// The report settings of a connection. A setting that is absent in the JSON object has its
/// default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReportSettings {
    /// The template of a defect's title.
    pub title_template: Option<String>,
    /// The template of a defect's text, in Markdown.
    pub description_template: Option<String>,
    /// The template of a comment on a recurrence, in Markdown.
    pub comment_template: Option<String>,
    /// Templates of further fields of the tracker.
    pub fields: Vec<FieldTemplate>,
    /// Which values of tests are masked.
    pub mask: MaskSettings,
    /// Which files are sent to the tracker.
    pub attachments: AttachmentPolicy,
    /// Rules that replace settings of the connection for some failed tests. Only the first rule
    /// whose conditions are all met is used.
    pub routing: Vec<RoutingRule>,
}

/// A field of the tracker and the template of its value: either `text` or `json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldTemplate {
    /// The name by which the tracker or the connector finds the field.
    pub field: String,
    /// The template of a text value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The template of a JSON value: each expression in it becomes a JSON value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
}

impl FieldTemplate {
    /// Returns the template, and how the template inserts values.
    pub(super) fn template(&self) -> (&str, OutputMode) {
        match (&self.text, &self.json) {
            (_, Some(json)) => (json, OutputMode::Json),
            (text, None) => (text.as_deref().unwrap_or_default(), OutputMode::Text),
        }
    }
}

/// A problem with one member of the report settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// The member, such as `title_template` or `fields[0]`; `report` for all settings together.
    pub member: String,
    /// What is wrong with the member, for the admin.
    pub why: String,
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.member, self.why)
    }
}

impl ReportSettings {
    /// Reads the object without checking templates, patterns and limits.
    ///
    /// # Errors
    /// Returns a problem for each member that is unknown or has the wrong type.
    pub fn read(object: &Settings) -> Result<Self, Vec<SettingsProblem>> {
        let (mut settings, mut problems) = (Self::default(), Vec::new());
        for (member, value) in object {
            let read = match member.as_str() {
                "title_template" => read_member(&mut settings.title_template, value),
                "description_template" => read_member(&mut settings.description_template, value),
                "comment_template" => read_member(&mut settings.comment_template, value),
                "fields" => read_member(&mut settings.fields, value),
                "mask" => read_member(&mut settings.mask, value),
                "attachments" => read_member(&mut settings.attachments, value),
                "routing" => read_member(&mut settings.routing, value),
                unknown => Err(InvalidMember::unknown(unknown)),
            };
            problems.extend(
                read.err().map(|error| SettingsProblem {
                    member: member.clone(),
                    why: error.to_string(),
                }),
            );
        }
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// Reads the object, and checks its templates, patterns and limits too.
    ///
    /// # Errors
    /// Returns the problems of members that cannot be read. If all can be read, returns the first
    /// problem of each template and of each other setting.
    pub fn check(object: &Settings) -> Result<Self, Vec<SettingsProblem>> {
        let settings = Self::read(object)?;
        let mut problems = settings.find_problems();
        if serde_json::to_string(object).is_ok_and(|text| text.len() > SETTINGS_BYTES_MAX) {
            let why = format!("all settings together have more than {SETTINGS_BYTES_MAX} bytes");
            problems.push(SettingsProblem { member: "report".to_owned(), why });
        }
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// Returns settings with the same attachment policy and the same mask, with fixed texts, and
    /// without fields and routing rules. So only the attachments need data of the test.
    #[must_use]
    pub fn only_attachments(&self) -> Self {
        let text = || Some("-".to_owned());
        Self {
            title_template: text(),
            description_template: text(),
            comment_template: text(),
            mask: self.mask.clone(),
            attachments: self.attachments.clone(),
            ..Self::default()
        }
    }

    /// Returns the parts of the data that the templates and the attachment policy use. A routing
    /// rule may need other parts: [`RoutingRule::subjects`].
    #[must_use]
    pub fn subjects(&self) -> BTreeSet<Subject> {
        let texts = [
            self.title_template.as_deref().unwrap_or(defaults::TITLE),
            self.description_template.as_deref().unwrap_or(defaults::DESCRIPTION),
            self.comment_template.as_deref().unwrap_or(defaults::COMMENT),
        ];
        let fields = self.fields.iter().map(|field| field.template().0);
        let templates = texts.into_iter().chain(fields);
        let mut subjects = self.attachments.subjects();
        subjects.extend(
            templates
                .filter_map(|template| engine::used_names(template).ok())
                .flat_map(|names| names::subjects(&names)),
        );
        subjects
    }

    fn find_problems(&self) -> Vec<SettingsProblem> {
        let mut problems = Vec::new();
        let mut add_problem = |member: String, why: Option<String>| {
            problems.extend(why.map(|why| SettingsProblem { member, why }));
        };
        let texts = [
            ("title_template", &self.title_template, OutputMode::Text),
            ("description_template", &self.description_template, OutputMode::Markdown),
            ("comment_template", &self.comment_template, OutputMode::Markdown),
        ];
        for (member, template, mode) in texts {
            let template = template.as_deref().unwrap_or_default();
            add_problem(member.to_owned(), template_problem(template, mode));
        }
        let mut names = BTreeSet::new();
        for (index, field) in self.fields.iter().enumerate() {
            let is_new_name = names.insert(&field.field);
            add_problem(format!("fields[{index}]"), field_problem(field, is_new_name));
        }
        let too_many = |length, max| (length > max).then(|| format!("at most {max} are allowed"));
        add_problem("fields".to_owned(), too_many(self.fields.len(), FIELDS_MAX));
        add_problem("routing".to_owned(), too_many(self.routing.len(), ROUTING_RULES_MAX));
        add_problem("mask".to_owned(), Mask::new(&self.mask).err().map(|error| error.to_string()));
        add_problem("attachments".to_owned(), self.attachments.problem());
        problems
    }
}

#[derive(Debug, thiserror::Error)]
enum InvalidMember {
    #[error("unknown member; did you mean `{0}`?")]
    Unknown(&'static str),
    #[error(transparent)]
    Value(#[from] serde_json::Error),
}

impl InvalidMember {
    fn unknown(name: &str) -> Self {
        Self::Unknown(nearest(name, SETTING_NAMES).map_or("", |(near, _)| near))
    }
}

fn read_member<T: DeserializeOwned>(target: &mut T, value: &Value) -> Result<(), InvalidMember> {
    *target = T::deserialize(value)?;
    Ok(())
}

/// Returns the first problem of a field. `is_new_name` is false if an earlier field has the same
/// name.
fn field_problem(field: &FieldTemplate, is_new_name: bool) -> Option<String> {
    let length = field.field.chars().count();
    if !(1..=FIELD_NAME_CHARS_MAX).contains(&length) {
        return Some(format!("`field` must have 1 to {FIELD_NAME_CHARS_MAX} characters"));
    }
    if !is_new_name {
        return Some(format!("the field {:?} is configured twice", field.field));
    }
    if field.text.is_some() == field.json.is_some() {
        return Some("give either `text` or `json`".to_owned());
    }
    let (template, mode) = field.template();
    template_problem(template, mode)
}

/// Returns the first problem of a template. The template is rendered twice: with example data, and
/// with only the ids of a failed test.
fn template_problem(template: &str, mode: OutputMode) -> Option<String> {
    check_template(template, mode).err().map(|error| error.to_string())
}

fn check_template(template: &str, mode: OutputMode) -> Result<(), TemplateError> {
    let refused = |reason: String| Err(TemplateError { position: None, reason });
    if template.len() > TEMPLATE_BYTES_MAX {
        return refused(format!("a template may have at most {TEMPLATE_BYTES_MAX} bytes"));
    }
    if placeholder::occurs_in(template) {
        return refused("a template may not contain the characters U+E000 and U+E001".to_owned());
    }
    let example = sample_test_data();
    let names = engine::used_names(template)?;
    let members = serde_json::to_value(&example).unwrap_or_default();
    if let Some(error) = names::find_unknown_name(template, &names, &members) {
        return Err(error);
    }
    let only_ids = TestData {
        test_execution_id: example.test_execution_id.clone(),
        test_case_id: example.test_case_id.clone(),
        ..TestData::default()
    };
    for (data, data_name) in [(example, "the example"), (only_ids, "only the ids of a test")] {
        let expanded = engine::expand(template, mode, &engine::template_context(&data))?;
        let json =
            (mode == OutputMode::Json).then(|| serde_json::from_str::<Value>(&expanded.text));
        if let Some(Err(error)) = json {
            return refused(format!("with {data_name}, the result is not JSON: {error}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
